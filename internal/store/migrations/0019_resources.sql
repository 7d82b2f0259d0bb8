-- +goose Up
-- What each process of a pool may take; 0: not limited.
alter table pools add column memory bigint not null default 0, -- bytes
                  add column cpus   double precision not null default 0;
