-- +goose Up
-- What people have decided about promotions. A row is never changed: whether it still counts is computed.
create table approvals (
    id           text primary key,             -- chosen by whoever decides, so that a try again is no second decision
    seq          bigint generated always as identity,
    promotion_id text not null references promotions (id),
    decision     text not null,                -- approve, reject
    person       text not null,
    token        text not null,                -- ID of the token that was shown
    roles        text[] not null,              -- that the person had there then
    reason       text not null,
    binding      text not null,                -- hash of all that was seen
    saw          jsonb not null,               -- the same by tenant: tenant to hash
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null
);
create index on approvals (promotion_id, seq);

-- +goose Down
drop table approvals;
