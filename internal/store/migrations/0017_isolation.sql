-- +goose Up
-- Runs of the probe that tries to reach from an environment's pools what belongs to others.
create table isolation_runs (
    id          bigint generated always as identity primary key,
    environment text not null,
    turn        int not null,                        -- how many there were before: what does not fit into one run has its turn in the next
    asked_by    text not null default '',            -- empty: it was due
    started_at  timestamptz not null default now(),
    finished_at timestamptz,                         -- null: it runs, or its server was killed
    verdict     text not null default '',            -- PASS, FAIL, INCONCLUSIVE; empty: not known yet
    says        text not null default '',            -- one line
    report      jsonb                                -- isolation.Examination
);
create index on isolation_runs (environment, id desc);

-- How much storage a tenant takes that has a limit.
create table tenant_usage (
    environment    text not null,
    tenant         text not null,
    database_bytes bigint not null,
    files_bytes    bigint not null,
    limit_bytes    bigint not null,
    level          int not null default 0,           -- 0: below what people are told of, 1: nearly all of it, 2: more
    since          timestamptz not null default now(), -- when it came to this level
    measured_at    timestamptz not null default now(),
    primary key (environment, tenant)
);

-- +goose Down
drop table tenant_usage, isolation_runs;
