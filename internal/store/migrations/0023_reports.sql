-- +goose Up
-- The last promotion of each tenant is looked for.
create index rollouts_of_tenant on rollouts (environment, tenant, created_at desc);
-- Reports ask for what ended in a period.
create index promotions_finished on promotions (finished_at) where finished_at is not null;
create index rehearsals_finished on rehearsals (finished_at) where finished_at is not null;

-- +goose Down
drop index rollouts_of_tenant, rehearsals_finished, promotions_finished;
