-- +goose Up
create table rehearsals (
    id           text primary key,
    seq          bigint generated always as identity,
    environment  text not null,
    tenant       text not null,
    release      text not null,
    release_name text not null,
    old_release  text not null,
    requested_by text not null,
    options      jsonb not null default '{}',
    state        text not null default 'queued', -- queued, running, done
    progress     text not null default '',
    outcome      text not null default '',       -- proven, fails, unfinished
    report       jsonb,
    revision     bigint not null default 0,
    created_at   timestamptz not null default now(),
    finished_at  timestamptz
);
create index on rehearsals (environment, tenant, release, seq desc);

-- +goose Down
drop table rehearsals;
