-- +goose Up
-- What a rollout was told while it did not look. A step that ends with a wait counts again: where somebody has
-- woken the rollout since the step took it up, it does not go to sleep.
alter table rollouts add wakes bigint not null default 0;

-- Gates that rollouts stand or stood at: what was asked, what was known and what the answer was.
create table gates (
    rollout_id   text primary key references rollouts (id),
    topics       text[] not null,             -- what an event must be about to concern it; none once it is passed
    policies     jsonb not null default '[]', -- that were asked
    facts        jsonb not null default '{}',
    result       jsonb not null default '{}',
    evaluated_at timestamptz not null default now()
);
create index on gates using gin (topics);

-- +goose Down
drop table gates;
alter table rollouts drop wakes;
