-- +goose Up
-- Several servers share the queue. Who runs a rehearsal holds it for a while and renews that; what nobody renews is over.
alter table rehearsals
    add column holder      text not null default '',   -- the server that took it up
    add column held_until  timestamptz,                -- null: nobody has taken it up
    add column cancelled   boolean not null default false; -- somebody wants it stopped: whoever runs it looks

-- What ran under a server from before has no holder who could end it.
update rehearsals set state = 'done', outcome = 'unfinished', progress = 'the server was stopped meanwhile; ask again', revision = revision + 1, finished_at = now()
where state = 'running';

-- Two at a time would measure each other.
create unique index rehearsals_one_runs on rehearsals ((true)) where state = 'running';

-- +goose Down
drop index rehearsals_one_runs;
alter table rehearsals drop column holder, drop column held_until, drop column cancelled;
