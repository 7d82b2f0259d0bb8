-- +goose Up
-- In which ring a rollout is, and whether it has had its turn there.
alter table rollouts
    add column ring       text not null default '',      -- empty: its promotion has no rings
    add column turn_at    timestamptz,                   -- when it had its turn
    add column turn_waits boolean not null default false; -- all else allows it to begin
create index rollouts_rings on rollouts (promotion_id, ring) where ring <> '';

-- +goose Down
drop index rollouts_rings;
alter table rollouts drop column ring, drop column turn_at, drop column turn_waits;
