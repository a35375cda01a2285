-- What keeps an account from trading, changes of contracts that nobody has accepted yet, and all measures of slippage.

CREATE TABLE account_conditions (
    account_id UUID NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    alert_key TEXT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_account_conditions PRIMARY KEY (account_id, kind),
    CONSTRAINT ck_account_conditions_kind CHECK (kind IN ('broker_disconnected', 'algo_trading_off', 'python_trading_off', 'account_read_only', 'expert_trading_off', 'account_mismatch', 'clock_mismatch')),
    CONSTRAINT fk_account_conditions_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id)
);

CREATE TABLE contract_changes (
    account_id UUID NOT NULL,
    symbol TEXT NOT NULL,
    term TEXT NOT NULL,
    was TEXT NOT NULL,
    shown TEXT NOT NULL,
    alert_key TEXT NOT NULL,
    noticed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_contract_changes PRIMARY KEY (account_id, symbol, term),
    CONSTRAINT fk_contract_changes_account_id_symbol_instruments FOREIGN KEY(account_id, symbol) REFERENCES instruments (account_id, symbol)
);

ALTER TABLE instruments
    ADD COLUMN listed BOOLEAN DEFAULT true NOT NULL,
    ADD COLUMN slippage_points_max NUMERIC;
ALTER TABLE risk_reservations ADD COLUMN contract JSONB;
ALTER TABLE trade_ledger
    ADD COLUMN slippage_price_percent NUMERIC,
    ADD COLUMN slippage_stop_percent NUMERIC;
ALTER TABLE alerts ADD COLUMN cleared_at TIMESTAMP WITH TIME ZONE;

GRANT SELECT ON account_conditions, contract_changes TO nexus_api, nexus_pipeline, nexus_broker;
GRANT INSERT, UPDATE, DELETE ON account_conditions, contract_changes TO nexus_broker;
-- An alert ends when its cause does; what it said stays.
GRANT UPDATE (cleared_at) ON alerts TO nexus_broker;
