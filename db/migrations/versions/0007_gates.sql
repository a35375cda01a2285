-- What the gates count: orders of a minute, identical ones, and those at the broker.

ALTER TABLE trade_ledger ADD COLUMN allow_duplicate BOOLEAN DEFAULT false NOT NULL;
CREATE INDEX ix_trade_ledger_account_received ON trade_ledger (account_id, received_at);

ALTER TABLE risk_limits
    DROP CONSTRAINT ck_risk_limits_unit,
    DROP CONSTRAINT ck_risk_limits_name,
    ADD CONSTRAINT ck_risk_limits_unit CHECK (unit IN ('money', 'percent', 'count', 'points', 'seconds')),
    ADD CONSTRAINT ck_risk_limits_name CHECK (name IN ('daily_loss', 'rolling_loss', 'order_value', 'position_size',
        'gross_exposure', 'open_orders', 'open_positions', 'message_rate', 'repeated_executions', 'duplicate_window',
        'stopless_loss', 'price_collar'));

-- A limit that is not set denies: what is new begins as wide as what the account already has.
INSERT INTO risk_limits (id, name, account_id, user_id, value, unit, currency, set_by, reason)
SELECT gen_random_uuid(), n.name, l.account_id, l.user_id, l.value * n.times, 'money', l.currency, 'system:migration',
       'as wide as ' || l.name
FROM risk_limits l
JOIN (VALUES ('rolling_loss', 'daily_loss', 1), ('order_value', 'position_size', 1),
             ('gross_exposure', 'position_size', 5)) AS n (name, wide_as, times) ON n.wide_as = l.name
WHERE l.superseded_at IS NULL;

INSERT INTO risk_limits (id, name, account_id, user_id, value, unit, currency, set_by, reason)
SELECT gen_random_uuid(), n.name, a.id, NULL, n.value, n.unit, NULL, 'system:migration', 'first value of a new limit'
FROM broker_accounts a
CROSS JOIN (VALUES ('open_orders', 200, 'count'), ('open_positions', 200, 'count'), ('message_rate', 2000, 'count'),
                   ('repeated_executions', 10000, 'count'), ('duplicate_window', 0, 'seconds'))
    AS n (name, value, unit);
