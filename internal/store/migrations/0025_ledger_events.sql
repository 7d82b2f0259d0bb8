-- +goose Up
-- Whoever watches the ledger hears that it has grown: once for each time that the outbox is chained.
-- +goose StatementBegin
create function ledger_grew() returns trigger language plpgsql as $$
begin
    insert into changes (topic, data) select 'ledger', jsonb_build_object('sequence', max(seq)) from now_rows having max(seq) is not null;
    return null;
end $$;
-- +goose StatementEnd
create trigger tell after insert on ledger referencing new table as now_rows for each statement execute function ledger_grew();

-- +goose Down
drop trigger tell on ledger;
drop function ledger_grew;
