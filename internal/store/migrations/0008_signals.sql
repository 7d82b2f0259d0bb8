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

-- +goose Down
drop table verdicts;
