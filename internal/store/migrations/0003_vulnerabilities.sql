-- +goose Up
-- What the last comparison of running releases with advisories found. One row.
create table vulnerability_scan (
    one        boolean primary key default true check (one),
    state      text not null,             -- of databases, rules, running releases and the day; another one means: compare again
    newest     jsonb not null default '{}', -- the newest advisory by ecosystem
    problems   jsonb not null default '[]', -- what is wrong with the databases by the estate's rules
    error      text not null default '',  -- why the last try failed; what was found before stands
    scanned_at timestamptz                -- of the last try that did not fail
);

-- What the running releases have. A row goes when the release no longer runs there, or no longer has it.
create table vulnerabilities (
    environment text not null,
    release     text not null,
    id          text not null,
    ecosystem   text not null,
    component   text not null,
    version     text not null,
    level       text not null,            -- refuse, warn
    severity    text not null,
    detail      text not null,
    fix         text not null,
    first_seen  timestamptz not null default now(),
    primary key (environment, release, id, ecosystem, component, version)
);

-- +goose Down
drop table vulnerabilities, vulnerability_scan;
