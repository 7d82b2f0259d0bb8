-- +goose Up
-- Who this ledger is. Its first entry is chained to this name, so that no other chain can take its place.
create table ledger_identity (
    one boolean primary key default true check (one),
    id  text not null
);
insert into ledger_identity (id) values (replace(gen_random_uuid()::text, '-', ''));

-- What shall be chained: written inside the transaction of the act itself, emptied by the one who chains.
create table ledger_outbox (
    id          bigint generated always as identity primary key,
    at          timestamptz not null default clock_timestamp(),
    actor       text not null,
    kind        text not null,
    environment text not null,
    tenant      text not null,
    promotion   text not null,
    rollout     text not null,
    release     text not null,
    payload     text not null -- text and not jsonb: what is hashed are these very bytes
);

create table ledger (
    seq         bigint primary key,
    at          timestamptz not null,
    actor       text not null,
    kind        text not null,
    environment text not null,
    tenant      text not null,
    promotion   text not null,
    rollout     text not null,
    release     text not null,
    payload     text not null,
    previous    bytea not null,
    hash        bytea not null
);
create index on ledger (promotion, seq) where promotion <> '';

create table ledger_heads (
    seq       bigint not null,
    hash      bytea not null,
    at        timestamptz not null,
    key_id    text not null,
    signature bytea not null,
    primary key (seq, key_id)
);

-- A seat belt, not the lock: whoever owns the database can take the triggers away, and the chain tells.
-- +goose StatementBegin
create function ledger_only_grows() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger only grows: % on % is refused', lower(tg_op), tg_table_name;
end $$;
-- +goose StatementEnd
create trigger only_grows before update or delete or truncate on ledger for each statement execute function ledger_only_grows();
create trigger only_grows before update or delete or truncate on ledger_heads for each statement execute function ledger_only_grows();

-- +goose Down
drop table ledger_heads, ledger, ledger_outbox, ledger_identity;
drop function ledger_only_grows;
