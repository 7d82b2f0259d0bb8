-- +goose Up
-- What the estate said of a rollout's tenant when its promotion was asked for. A promotion of many tenants is read at each step of each.
alter table rollouts add column declared jsonb; -- null: of an older promotion, which holds all its tenants itself
-- What is looked for twice a second: unfinished rollouts that are due.
create index rollouts_open on rollouts (wake_at, lease_until) where state in ('running', 'undoing');

-- +goose Down
drop index rollouts_open;
alter table rollouts drop column declared;
