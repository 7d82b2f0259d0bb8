-- +goose Up
-- What people shall be told. A row is written in the transaction of what it tells; the key keeps the
-- same thing from being told twice.
create table notices (
    id          bigint generated always as identity primary key,
    key         text not null unique,
    event       text not null,             -- waiting, failed, rolled_back, freeze
    environment text not null,
    data        jsonb not null,
    addressed   boolean not null default false, -- its deliveries have been written
    created_at  timestamptz not null default now()
);
create index on notices (id) where not addressed;

-- Which target has been told of which notice.
create table deliveries (
    notice       bigint not null references notices (id) on delete cascade,
    target       text not null,             -- name in the estate
    attempts     int not null default 0,
    next_at      timestamptz not null default now(), -- of the next try; while one is under way, when it may be taken for dead
    delivered_at timestamptz,
    gave_up_at   timestamptz,
    last_error   text not null default '',
    primary key (notice, target)
);
create index on deliveries (next_at) where delivered_at is null and gave_up_at is null;

-- +goose Down
drop table deliveries, notices;
