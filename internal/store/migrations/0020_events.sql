-- +goose Up
-- What has changed and nobody has been told of yet: written by the triggers below, in the transaction of the change.
create table changes (
    key         bigint generated always as identity primary key,
    topic       text not null,            -- promotion, approval, environment, notification, rehearsal, release, estate, token
    environment text not null default '', -- empty: it is of none
    subject     text not null default '', -- ID of what has changed
    data        jsonb not null default '{}'
);

-- The same, in the order in which it is told. A number is given when a change is taken out of the table above, by one at
-- a time: so whoever has seen a number has seen all below it, which the order of commits alone does not give.
create table events (
    seq         bigint generated always as identity primary key,
    at          timestamptz not null default clock_timestamp(),
    topic       text not null,
    environment text not null default '',
    subject     text not null default '',
    data        json not null default '{}' -- as it is sent
);
create index on events (at);
insert into events (topic) values ('began'); -- there is always a newest one

-- +goose StatementBegin
create function rollouts_changed() returns trigger language plpgsql as $$
begin
    insert into changes (topic, environment, subject, data)
    select 'promotion', n.environment, n.promotion_id, jsonb_build_object('rollout', max(n.id))
    from now_rows n join old_rows o using (id) where n.revision <> o.revision group by n.environment, n.promotion_id;
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after update on rollouts referencing old table as old_rows new table as now_rows for each statement execute function rollouts_changed();

-- +goose StatementBegin
create function promotion_changed() returns trigger language plpgsql as $$
begin
    insert into changes (topic, environment, subject) values ('promotion', new.environment, new.id);
    return null;
end $$;
-- +goose StatementEnd
create trigger tell_new after insert on promotions for each row execute function promotion_changed();
create trigger tell after update on promotions for each row
    when ((old.outcome, old.class, old.finished_at) is distinct from (new.outcome, new.class, new.finished_at)) execute function promotion_changed();

-- +goose StatementBegin
create function part_of_promotion_changed() returns trigger language plpgsql as $$
begin
    insert into changes (topic, environment, subject) values ('promotion', new.environment, new.promotion_id);
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after insert or update on emergencies for each row execute function part_of_promotion_changed();

-- +goose StatementBegin
create function verdict_given() returns trigger language plpgsql as $$
begin
    insert into changes (topic, environment, subject, data)
    select 'promotion', environment, promotion_id, jsonb_build_object('rollout', id) from rollouts where id = new.rollout_id;
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after insert or update on verdicts for each row execute function verdict_given();

-- +goose StatementBegin
create function approval_given() returns trigger language plpgsql as $$
begin
    insert into changes (topic, environment, subject, data)
    select 'approval', environment, id, jsonb_build_object('decision', new.decision, 'person', new.person) from promotions where id = new.promotion_id;
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after insert on approvals for each row execute function approval_given();

-- Generations grow with whatever is decided about an environment's tenants.
-- +goose StatementBegin
create function environment_changed() returns trigger language plpgsql as $$
begin
    insert into changes (topic, environment, subject) values ('environment', coalesce(new.environment, old.environment), coalesce(new.environment, old.environment));
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after insert or update on generations for each row execute function environment_changed();
create trigger tell after insert or delete on quarantine for each row execute function environment_changed();
create trigger tell after insert or delete on besides for each row execute function environment_changed();
create trigger tell_ready after update on besides for each row when (old.ready_at is distinct from new.ready_at) execute function environment_changed();
create trigger tell after insert or update on isolation_runs for each row execute function environment_changed();
create trigger tell after update on tenant_usage for each row when (old.level <> new.level) execute function environment_changed();

-- +goose StatementBegin
create function notice_written() returns trigger language plpgsql as $$
begin
    insert into changes (topic, environment, subject, data) values ('notification', new.environment, new.key, new.data);
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after insert on notices for each row execute function notice_written();

-- +goose StatementBegin
create function rehearsal_changed() returns trigger language plpgsql as $$
begin
    insert into changes (topic, environment, subject) values ('rehearsal', new.environment, new.id);
    return null;
end $$;
-- +goose StatementEnd
create trigger tell_new after insert on rehearsals for each row execute function rehearsal_changed();
create trigger tell after update on rehearsals for each row when (old.revision <> new.revision) execute function rehearsal_changed();

-- +goose StatementBegin
create function release_known() returns trigger language plpgsql as $$
begin
    insert into changes (topic, subject, data) values ('release', new.digest, jsonb_build_object('name', new.name));
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after insert on releases for each row execute function release_known();

-- +goose StatementBegin
create function estate_changed() returns trigger language plpgsql as $$
begin
    insert into changes (topic, subject, data) values ('estate', new.commit, jsonb_build_object('commit', new.commit, 'problem', new.problem));
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after update on estate_head for each row
    when ((old.commit, old.problem) is distinct from (new.commit, new.problem)) execute function estate_changed();

-- For servers alone, which end the streams that were opened with it.
-- +goose StatementBegin
create function token_revoked() returns trigger language plpgsql as $$
begin
    insert into changes (topic, subject) values ('token', new.id);
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after update on tokens for each row when (old.revoked_at is null and new.revoked_at is not null) execute function token_revoked();

-- +goose Down
drop trigger tell on rollouts;
drop trigger tell_new on promotions;
drop trigger tell on promotions;
drop trigger tell on emergencies;
drop trigger tell on verdicts;
drop trigger tell on approvals;
drop trigger tell on generations;
drop trigger tell on quarantine;
drop trigger tell on besides;
drop trigger tell_ready on besides;
drop trigger tell on isolation_runs;
drop trigger tell on tenant_usage;
drop trigger tell on notices;
drop trigger tell_new on rehearsals;
drop trigger tell on rehearsals;
drop trigger tell on releases;
drop trigger tell on estate_head;
drop trigger tell on tokens;
drop function rollouts_changed, promotion_changed, part_of_promotion_changed, verdict_given, approval_given, environment_changed,
    notice_written, rehearsal_changed, release_known, estate_changed, token_revoked;
drop table events, changes;
