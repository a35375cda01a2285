-- Set in the transaction that found no stop in the way: what is set and has no outcome may reach the broker yet.
ALTER TABLE trade_commands ADD COLUMN sent_at TIMESTAMP WITH TIME ZONE;
CREATE INDEX ix_trade_commands_in_flight ON trade_commands (trade_id) WHERE sent_at IS NOT NULL AND outcome IS NULL;

CREATE INDEX ix_send_attempts_open ON send_attempts (trade_id) WHERE outcome IS NULL OR outcome = 'unresolved';
CREATE INDEX ix_fills_account_booked ON fills (account_id, booked_at);
CREATE INDEX ix_alerts_account_kind ON alerts (account_id, kind, raised_at);
CREATE INDEX ix_trade_ledger_closed ON trade_ledger (account_id, closed_at);
