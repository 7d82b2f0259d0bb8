-- +goose Up
-- Promotions that somebody has broken the glass for, who confirmed them, and what came of their review.
create table emergencies (
    promotion_id text primary key references promotions (id),
    environment  text not null,
    asked_by     text not null,
    reason       text not null,
    second       text not null,              -- who is to confirm
    skipped      text[] not null,            -- what is not asked of it, for people
    asked_at     timestamptz not null default now(),
    confirm_by   timestamptz not null,
    confirmed_at timestamptz,
    lapsed_at    timestamptz,                -- nobody had confirmed in time; never both
    reviewed_at  timestamptz,
    reviewed_by  text not null default '',
    note         text not null default '',   -- of the review
    check (confirmed_at is null or lapsed_at is null)
);
create index on emergencies (environment) where confirmed_at is not null and reviewed_at is null;

-- +goose Down
drop table emergencies;
