-- +goose Up
-- Reports read the drifts of a ledger that has much else in it.
create index ledger_drift on ledger (at) where kind in ('drift.found', 'drift.mended');

-- +goose Down
drop index ledger_drift;
