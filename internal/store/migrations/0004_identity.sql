-- +goose Up
-- Tokens of the estate's users. A token's text is 256 random bits and is kept nowhere; only its SHA-256 is.
create table tokens (
    id           text primary key,
    user_name    text not null,
    label        text not null,
    hash         bytea not null,
    roles        text[] not null,              -- empty: all that the user has
    environments text[] not null,              -- empty: all of the user's
    parent       text not null default '',     -- the token that it was made with; revoked with it
    created_by   text not null,
    created_at   timestamptz not null,
    expires_at   timestamptz not null,
    revoked_at   timestamptz,
    revoked_by   text not null default '',
    used_on      date                          -- the day of its last use, and no more than that
);
create index on tokens (user_name, created_at desc);
create index on tokens (parent) where parent <> '';

-- Who has made a release: whoever made it known here, and the commit's people by their addresses.
alter table releases add column makers text[] not null default '{}', add column authors text[] not null default '{}';

-- +goose Down
alter table releases drop column makers, drop column authors;
drop table tokens;
