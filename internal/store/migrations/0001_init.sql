-- +goose Up
create table releases (
    digest     text primary key,
    repository text not null,
    name       text not null,
    data       jsonb not null,
    created_at timestamptz not null default now()
);
create index on releases (name, created_at desc);

-- What Waybill last decided about a tenant. live is the declared state of route, cron and access,
-- from which routers, pool files and connect rights are derived.
create table tenants (
    environment     text not null,
    name            text not null,
    database        text not null,
    hosts           text[] not null,
    pool_group      text not null,
    serving_release text not null default '',
    schema_release  text not null default '',
    live            jsonb not null default '{}',
    primary key (environment, name)
);
create unique index on tenants (environment, database);

create table pools (
    environment text not null,
    name        text not null,
    release     text not null,
    image       text not null,
    pool_group  text not null,
    workers     int not null,
    settings    jsonb not null default '{}',
    primary key (environment, name)
);

-- Generations of what is pushed to routers and pools; they only grow.
create table generations (
    environment text primary key,
    generation  bigint not null
);

create table promotions (
    id            text primary key,
    seq           bigint generated always as identity,
    kind          text not null,
    environment   text not null,
    release       text not null,
    release_name  text not null,
    class         text not null default '',
    requested_by  text not null,
    options       jsonb not null,
    estate        jsonb not null,
    estate_commit text not null,
    created_at    timestamptz not null default now(),
    finished_at   timestamptz,
    outcome       text not null default ''
);
create index on promotions (environment, seq desc);

create table rollouts (
    id           text primary key,
    promotion_id text not null references promotions (id),
    environment  text not null,
    tenant       text not null,
    state        text not null,            -- running, undoing, waiting, done
    undo         boolean not null default false, -- on the way back
    step         int not null default 0,   -- index in the procedure
    attempt      int not null default 0,   -- failed tries of the current step
    memory       jsonb not null default '{}',
    outcome      text not null default '', -- promoted, rolled_back, waiting
    reason       text not null default '',
    held_seconds double precision not null default 0,
    abort        text not null default '', -- a person asked to go back, with this reason
    accept_loss  boolean not null default false, -- … and takes the loss of what was written since the checkpoint
    epoch        bigint not null default 0,
    holder       text not null default '',
    lease_until  timestamptz,
    wake_at      timestamptz,
    waits_for    text not null default '',
    revision     bigint not null default 0,
    created_at   timestamptz not null default now(),
    finished_at  timestamptz
);
-- A tenant takes part in one promotion at a time; the database sees to it.
create unique index rollouts_one_at_a_time on rollouts (environment, tenant) where state <> 'done';
create index on rollouts (promotion_id);

create table steps (
    rollout_id  text not null references rollouts (id),
    seq         bigint generated always as identity,
    name        text not null,
    undo        boolean not null,
    outcome     text not null,             -- running, done, skipped, failed, retried, interrupted
    detail      text not null default '',
    epoch       bigint not null,
    started_at  timestamptz not null default now(),
    finished_at timestamptz,
    primary key (rollout_id, seq)
);

-- A release that an environment took back stays out until somebody lifts it.
create table quarantine (
    environment  text not null,
    digest       text not null,
    promotion_id text not null,
    reason       text not null,
    at           timestamptz not null default now(),
    primary key (environment, digest)
);

-- +goose Down
drop table quarantine, steps, rollouts, promotions, generations, pools, tenants, releases;
