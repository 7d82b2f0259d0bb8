-- +goose Up
-- What was decided about each weight of a shift and about the bake, and on what evidence.
create table verdicts (
    rollout_id text not null references rollouts (id) on delete cascade,
    stage      text not null,             -- "shift 10", "bake"
    outcome    text not null,             -- PASS, FAIL, INCONCLUSIVE
    says       text not null,             -- one line
    evidence   jsonb not null,            -- promotion.Verdict
    decided_at timestamptz not null default now(),
    primary key (rollout_id, stage)
);

-- What the business calls of a tenant did, hour by hour, while one release served alone; some weeks of it.
create table signal_hours (
    environment text not null,
    tenant      text not null,
    signal      text not null,
    start       timestamptz not null,
    total       bigint not null,
    bad         bigint not null,
    primary key (environment, tenant, signal, start)
);
create index on signal_hours (start);

-- +goose Down
drop table signal_hours, verdicts;
