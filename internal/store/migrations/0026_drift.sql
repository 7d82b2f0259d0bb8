-- +goose Up
-- What was applied to a cluster last, object by object: outside of the cluster, where whoever deletes an object cannot delete what it was.
create table declared_objects (
    scope       text not null,                       -- the cluster, and the Waybill in it
    api_version text not null,
    kind        text not null,
    namespace   text not null default '',            -- empty: of the whole cluster
    name        text not null,
    environment text not null default '',            -- empty: of none
    manifest    bytea not null,                      -- sealed with the server's key: it may hold secrets
    applied     text not null default '',            -- sum of the fields that the cluster has as applied
    fingerprint text not null default '',            -- of what the cluster made of it
    kept_at     timestamptz not null default now(),
    primary key (scope, kind, namespace, name)
);

-- What was found to be otherwise. A row stays when it is as declared again, for as long as its heals count.
create table drifts (
    scope       text not null,
    api_version text not null,
    kind        text not null,
    namespace   text not null default '',
    name        text not null,
    environment text not null default '',
    finding     jsonb not null default '{}',         -- drift.Finding; what it was, where it is as declared again
    what        text not null default '',            -- what of the finding makes it another one
    found_at    timestamptz not null default now(),
    told_at     timestamptz not null default now(),  -- when it became what it is
    mended_at   timestamptz,                         -- null: it drifts
    heals       timestamptz[] not null default '{}', -- when it was brought back
    fought      boolean not null default false,      -- it comes back whatever is done, and is left alone
    primary key (scope, kind, namespace, name)
);
create index on drifts (environment) where mended_at is null;

-- +goose StatementBegin
create function drift_changed() returns trigger language plpgsql as $$
begin
    insert into changes (topic, environment, subject) values ('environment', new.environment, new.environment);
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after insert or update on drifts for each row when (new.environment <> '') execute function drift_changed();

-- +goose Down
drop table drifts, declared_objects;
drop function drift_changed;
