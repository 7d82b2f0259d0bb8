-- +goose Up
-- Checkpoints that were restored beside the tenant that they are of. Each has a row in tenants as well, under the name
-- TENANT@NAME, which no estate can declare: pools, routes and rights are derived from that one.
create table besides (
    environment    text not null,
    tenant         text not null,
    name           text not null,
    database       text not null,
    host           text not null default '', -- empty: nothing serves it
    checkpoint     text not null,
    recovery_point timestamptz not null,
    release        text not null,            -- digest that the checkpoint belongs to
    promotion      text not null references promotions (id), -- that made it
    ready_at       timestamptz,              -- null: it is being made
    expires_at     timestamptz not null,
    primary key (environment, tenant, name)
);
create unique index on besides (environment, database);
create unique index besides_host on besides (environment, host) where host <> '';

-- +goose Down
drop table besides;
