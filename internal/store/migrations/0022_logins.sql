-- +goose Up
-- Sessions of people who have logged in with a browser. The cookie's text is 256 random bits and is kept nowhere; only its SHA-256 is.
create table sessions (
    id         text primary key,
    hash       bytea not null,
    user_name  text not null,
    method     text not null,                 -- password, token, oidc
    token      text not null default '',      -- the token that it was opened with; it ends with it and reaches no further
    standing   bytea not null,                -- SHA-256 of what the estate said about the user then
    address    text not null,
    created_at timestamptz not null,
    seen_at    timestamptz not null,          -- to the minute
    expires_at timestamptz not null,
    ended_at   timestamptz,
    ended_why  text not null default ''
);
create index on sessions (user_name, created_at desc);
create index on sessions (expires_at);

-- Passwords of users who have one: argon2id, with its salt and its parameters. They count for users of the estate alone.
create table passwords (
    user_name text primary key,
    hash      text not null,
    set_by    text not null,
    set_at    timestamptz not null
);

-- +goose Down
drop table passwords;
drop table sessions;
