-- +goose Up
-- The estate's commit that is in force, where the estate is kept in Git. One row.
create table estate_head (
    one      boolean primary key default true check (one),
    commit   text not null default '',  -- in force
    seen     text not null default '',  -- the branch's newest commit, as of the last look
    problem  text not null default '',  -- why seen is not in force, or why the remote was not reached
    accepted text not null default '',  -- a commit that a person takes although history was rewritten before it
    at       timestamptz not null default now()
);
insert into estate_head default values;

-- What Git wanted of an environment when it was last acted on. What Git wants now is compared with this.
create table targets (
    environment text primary key,
    release     text not null,
    commit      text not null,
    promotion   text not null,            -- that was started for it; empty: it was there already
    problem     text not null default '', -- why what Git wants now has not been started
    at          timestamptz not null default now()
);

-- What went back and is still to be written down in Git. A row stays when that is done, for the record.
create table reversals (
    id          bigint generated always as identity primary key,
    environment text not null,
    release     text not null,            -- what Git wants
    back_to     text not null,            -- what serves; empty: nothing
    promotion   text not null unique,
    reason      text not null,
    tries       int not null default 0,
    problem     text not null default '',
    commit      text not null default '', -- that says so
    created_at  timestamptz not null default now(),
    done_at     timestamptz
);
create index on reversals (environment) where done_at is null;

-- +goose Down
drop table reversals, targets, estate_head;
