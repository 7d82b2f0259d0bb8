-- +goose Up
-- Where a pool keeps people's sessions: URL of a Redis server, without a password; empty: in files.
alter table pools add column sessions text not null default '';
