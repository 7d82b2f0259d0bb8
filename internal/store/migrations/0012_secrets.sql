-- +goose Up
-- Which of the secrets that are derived from the master key is in force. No value is kept, only a number that goes into it.
create table secrets (
    environment text not null,
    name        text not null,                 -- bridge, or database/ and a pool group
    version     int not null,
    overlap     boolean not null default false, -- the one before still opens, until every pool has the new one
    promotion   text not null default '',      -- that asked for this version
    changed_at  timestamptz not null default now(),
    primary key (environment, name)
);

-- +goose Down
drop table secrets;
