-- +goose Up
-- Requests that carry an Idempotency-Key, and how they were answered; a day of them.
create table onces (
    person     text not null,
    key        text not null,
    request    bytea not null,                -- SHA-256 of all that was asked for
    status     int not null default 0,        -- of the answer; 0: it is being answered
    type       text not null default '',
    body       bytea,                         -- null: it held a secret, or was too long to be kept
    created_at timestamptz not null default now(),
    beat_at    timestamptz not null default now(), -- somebody is at it still
    primary key (person, key)
);
create index on onces (created_at);

-- Lists go on behind an item.
create index on releases (created_at desc, digest desc);
create index on tokens (created_at desc, id desc);
create index on rehearsals (seq desc);
create index on promotions (seq desc);

-- +goose Down
drop index promotions_seq_idx, rehearsals_seq_idx, tokens_created_at_id_idx, releases_created_at_digest_idx;
drop table onces;
