-- +goose Up
-- Tenants of one promotion whose databases have the same modules, and who rehearses for them.
create table kin (
    rollout_id   text primary key references rollouts (id),
    promotion_id text not null,
    tenant       text not null,
    module_set   text not null,
    young        boolean not null,         -- it has a checkpoint that a rehearsal can be made on
    bytes        bigint not null,          -- of its database
    stands       text not null default '', -- what its own rehearsal came to: proven, fails, none; empty: not known yet
    rehearsal    text not null default ''
);
create index kin_sets on kin (promotion_id, module_set, young desc, bytes desc, tenant);
create index rollouts_unplanned on rollouts (promotion_id) where step = 0 and state = 'running';

-- +goose Down
drop index rollouts_unplanned;
drop table kin;
