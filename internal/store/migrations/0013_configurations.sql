-- +goose Up
-- What Git wanted of an environment's configuration when it was last acted on. What Git wants now is compared with this.
create table configurations (
    environment text primary key,
    wanted      text not null,            -- hash of the settings
    commit      text not null,
    promotion   text not null,            -- that was started for it; empty: it was there already
    problem     text not null default '', -- why what Git wants now has not been started
    at          timestamptz not null default now()
);

-- +goose Down
drop table configurations;
