-- Tables, keys and checks of the books.

CREATE SEQUENCE order_magic AS BIGINT START WITH 1000000001;

CREATE TABLE alerts (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    key TEXT NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    account_id UUID,
    trade_id UUID,
    summary TEXT NOT NULL,
    raised_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    acknowledged_at TIMESTAMP WITH TIME ZONE,
    acknowledged_by TEXT,
    CONSTRAINT pk_alerts PRIMARY KEY (id),
    CONSTRAINT ck_alerts_severity CHECK (severity IN ('info', 'warning', 'critical')),
    CONSTRAINT uq_alerts_key UNIQUE (key)
);

CREATE TABLE audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    xact BIGINT DEFAULT (pg_current_xact_id()::text)::bigint NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail JSONB NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (id)
);
CREATE INDEX ix_audit_log_subject ON audit_log (subject, id);

CREATE TABLE broker_accounts (
    id UUID NOT NULL,
    slug TEXT NOT NULL,
    currency TEXT NOT NULL,
    margin_mode TEXT NOT NULL,
    leverage INTEGER NOT NULL,
    login BIGINT NOT NULL,
    server TEXT NOT NULL,
    day_zone TEXT NOT NULL,
    enabled BOOLEAN DEFAULT true NOT NULL,
    lease_number BIGINT DEFAULT 0 NOT NULL,
    lease_holder TEXT,
    lease_terminal TEXT,
    lease_taken_at TIMESTAMP WITH TIME ZONE,
    lease_expires_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_broker_accounts PRIMARY KEY (id),
    CONSTRAINT ck_broker_accounts_margin_mode CHECK (margin_mode IN ('netting', 'exchange', 'hedging')),
    CONSTRAINT ck_broker_accounts_slug CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,30}$'),
    CONSTRAINT uq_broker_accounts_id_margin_mode UNIQUE (id, margin_mode),
    CONSTRAINT uq_broker_accounts_slug UNIQUE (slug)
);

CREATE TABLE events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    xact BIGINT DEFAULT (pg_current_xact_id()::text)::bigint NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    kind TEXT NOT NULL,
    account_id UUID,
    user_id UUID,
    trade_id UUID,
    payload JSONB NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (id)
);
CREATE INDEX ix_events_trade ON events (trade_id, id);
CREATE INDEX ix_events_xact ON events (xact, id);

CREATE TABLE trading_control (
    scope TEXT NOT NULL,
    scope_id TEXT NOT NULL,
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    set_by TEXT NOT NULL,
    set_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_trading_control PRIMARY KEY (scope, scope_id),
    CONSTRAINT ck_trading_control_scope CHECK (scope IN ('all', 'account', 'user', 'symbol')),
    CONSTRAINT ck_trading_control_state CHECK (state IN ('active', 'reduce_only', 'halted')),
    CONSTRAINT ck_trading_control_scope_id CHECK ((scope = 'all') = (scope_id = ''))
);

CREATE TABLE users (
    id UUID NOT NULL,
    username TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    enabled BOOLEAN DEFAULT true NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT ck_users_role CHECK (role IN ('viewer', 'trader', 'risk', 'admin')),
    CONSTRAINT ck_users_username CHECK (username ~ '^[a-z0-9][a-z0-9._-]{1,62}$'),
    CONSTRAINT uq_users_username UNIQUE (username)
);

CREATE TABLE account_snapshots (
    account_id UUID NOT NULL,
    minute_at TIMESTAMP WITH TIME ZONE NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE NOT NULL,
    balance NUMERIC NOT NULL,
    credit NUMERIC NOT NULL,
    equity NUMERIC NOT NULL,
    margin NUMERIC NOT NULL,
    margin_free NUMERIC NOT NULL,
    leverage INTEGER NOT NULL,
    connected BOOLEAN NOT NULL,
    trade_allowed BOOLEAN NOT NULL,
    CONSTRAINT pk_account_snapshots PRIMARY KEY (account_id, minute_at),
    CONSTRAINT fk_account_snapshots_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id)
);

CREATE TABLE account_users (
    account_id UUID NOT NULL,
    user_id UUID NOT NULL,
    margin_mode TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_account_users PRIMARY KEY (account_id, user_id),
    CONSTRAINT fk_account_users_account_id_margin_mode_broker_accounts FOREIGN KEY(account_id, margin_mode) REFERENCES broker_accounts (id, margin_mode),
    CONSTRAINT fk_account_users_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE UNIQUE INDEX uq_account_users_netting ON account_users (account_id) WHERE margin_mode <> 'hedging';

CREATE TABLE broker_positions (
    account_id UUID NOT NULL,
    position_id BIGINT NOT NULL,
    ticket BIGINT NOT NULL,
    magic BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    volume NUMERIC NOT NULL,
    price_open NUMERIC NOT NULL,
    price_current NUMERIC NOT NULL,
    stop_loss NUMERIC,
    take_profit NUMERIC,
    swap NUMERIC NOT NULL,
    profit NUMERIC NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_broker_positions PRIMARY KEY (account_id, position_id),
    CONSTRAINT ck_broker_positions_side CHECK (side IN ('buy', 'sell')),
    CONSTRAINT fk_broker_positions_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id)
);

CREATE TABLE exposure_totals (
    account_id UUID NOT NULL,
    user_id UUID NOT NULL,
    held_loss NUMERIC DEFAULT 0 NOT NULL,
    held_notional NUMERIC DEFAULT 0 NOT NULL,
    held_margin NUMERIC DEFAULT 0 NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_exposure_totals PRIMARY KEY (account_id, user_id),
    CONSTRAINT ck_exposure_totals_held CHECK (held_loss >= 0 AND held_notional >= 0 AND held_margin >= 0),
    CONSTRAINT fk_exposure_totals_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id),
    CONSTRAINT fk_exposure_totals_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);

CREATE TABLE instruments (
    account_id UUID NOT NULL,
    symbol TEXT NOT NULL,
    description TEXT NOT NULL,
    currency_base TEXT NOT NULL,
    currency_profit TEXT NOT NULL,
    currency_margin TEXT NOT NULL,
    digits INTEGER NOT NULL,
    point NUMERIC NOT NULL,
    tick_size NUMERIC NOT NULL,
    tick_value NUMERIC NOT NULL,
    contract_size NUMERIC NOT NULL,
    volume_min NUMERIC NOT NULL,
    volume_max NUMERIC NOT NULL,
    volume_step NUMERIC NOT NULL,
    stops_level_points INTEGER NOT NULL,
    freeze_level_points INTEGER NOT NULL,
    trade_mode TEXT NOT NULL,
    execution TEXT NOT NULL,
    fillings TEXT[] NOT NULL,
    order_types TEXT[] NOT NULL,
    allowed BOOLEAN DEFAULT true NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_instruments PRIMARY KEY (account_id, symbol),
    CONSTRAINT fk_instruments_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id)
);

CREATE TABLE ledger_accounts (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    account_id UUID NOT NULL,
    user_id UUID,
    code TEXT NOT NULL,
    currency TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_ledger_accounts PRIMARY KEY (id),
    CONSTRAINT uq_ledger_accounts_account_id_user_id_code_currency UNIQUE NULLS NOT DISTINCT (account_id, user_id, code, currency),
    CONSTRAINT fk_ledger_accounts_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id),
    CONSTRAINT fk_ledger_accounts_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);

CREATE TABLE position_marks (
    account_id UUID NOT NULL,
    day DATE NOT NULL,
    position_id BIGINT NOT NULL,
    price NUMERIC NOT NULL,
    marked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_position_marks PRIMARY KEY (account_id, day, position_id),
    CONSTRAINT fk_position_marks_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id)
);

CREATE TABLE quotes (
    account_id UUID NOT NULL,
    symbol TEXT NOT NULL,
    bid NUMERIC NOT NULL,
    ask NUMERIC NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_quotes PRIMARY KEY (account_id, symbol),
    CONSTRAINT fk_quotes_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id)
);

CREATE TABLE risk_limits (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    account_id UUID NOT NULL,
    user_id UUID,
    value NUMERIC NOT NULL,
    unit TEXT NOT NULL,
    currency TEXT,
    set_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    superseded_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_risk_limits PRIMARY KEY (id),
    CONSTRAINT ck_risk_limits_name CHECK (name IN ('daily_loss', 'position_size', 'stopless_loss', 'price_collar')),
    CONSTRAINT ck_risk_limits_value CHECK (value >= 0),
    CONSTRAINT ck_risk_limits_unit CHECK (unit IN ('money', 'lots', 'percent', 'count', 'points')),
    CONSTRAINT ck_risk_limits_currency CHECK ((unit = 'money') = (currency IS NOT NULL)),
    CONSTRAINT fk_risk_limits_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id),
    CONSTRAINT fk_risk_limits_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE UNIQUE INDEX uq_risk_limits_in_force ON risk_limits (account_id, user_id, name) NULLS NOT DISTINCT WHERE superseded_at IS NULL;

CREATE TABLE trade_ledger (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    account_id UUID NOT NULL,
    client_order_id TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    magic BIGINT DEFAULT nextval('order_magic') NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    order_type TEXT NOT NULL,
    volume NUMERIC NOT NULL,
    time_in_force TEXT NOT NULL,
    price NUMERIC,
    stop_limit_price NUMERIC,
    stop_loss NUMERIC,
    take_profit NUMERIC,
    expires_at TIMESTAMP WITH TIME ZONE,
    max_slippage_points INTEGER,
    position_id BIGINT,
    state TEXT DEFAULT 'pending' NOT NULL,
    reason TEXT,
    denials JSONB DEFAULT '[]'::jsonb NOT NULL,
    evidence JSONB,
    needs_attention BOOLEAN DEFAULT false NOT NULL,
    broker_order_id BIGINT,
    filled_volume NUMERIC DEFAULT 0 NOT NULL,
    average_price NUMERIC,
    expected_price NUMERIC,
    slippage_points NUMERIC,
    slippage_money NUMERIC,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    submit_by TIMESTAMP WITH TIME ZONE NOT NULL,
    accepted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    submitted_at TIMESTAMP WITH TIME ZONE,
    decided_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_trade_ledger PRIMARY KEY (id),
    CONSTRAINT uq_trade_ledger_user_id_client_order_id UNIQUE (user_id, client_order_id),
    CONSTRAINT uq_trade_ledger_account_id_magic UNIQUE (account_id, magic),
    CONSTRAINT ck_trade_ledger_state CHECK (state IN ('pending', 'working', 'partially_filled', 'filled', 'cancelled', 'expired', 'rejected', 'denied', 'unresolved')),
    CONSTRAINT ck_trade_ledger_side CHECK (side IN ('buy', 'sell')),
    CONSTRAINT ck_trade_ledger_order_type CHECK (order_type IN ('market', 'limit', 'stop', 'stop_limit')),
    CONSTRAINT ck_trade_ledger_time_in_force CHECK (time_in_force IN ('gtc', 'day', 'gtd', 'ioc', 'fok')),
    CONSTRAINT ck_trade_ledger_volume CHECK (volume > 0),
    CONSTRAINT ck_trade_ledger_filled_volume CHECK (filled_volume >= 0),
    CONSTRAINT ck_trade_ledger_submit_by CHECK (submit_by >= received_at),
    CONSTRAINT fk_trade_ledger_user_id_users FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_trade_ledger_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id),
    CONSTRAINT uq_trade_ledger_workflow_id UNIQUE (workflow_id)
);
CREATE INDEX ix_trade_ledger_attention ON trade_ledger (account_id) WHERE needs_attention;
CREATE UNIQUE INDEX uq_trade_ledger_broker_order ON trade_ledger (account_id, broker_order_id) WHERE broker_order_id IS NOT NULL;
CREATE INDEX ix_trade_ledger_open ON trade_ledger (account_id) WHERE closed_at IS NULL;
CREATE INDEX ix_trade_ledger_received ON trade_ledger (received_at DESC, id DESC);
CREATE INDEX ix_trade_ledger_user_received ON trade_ledger (user_id, received_at DESC, id);

CREATE TABLE user_daily_stats (
    account_id UUID NOT NULL,
    user_id UUID NOT NULL,
    day DATE NOT NULL,
    currency TEXT NOT NULL,
    profit NUMERIC DEFAULT 0 NOT NULL,
    commission NUMERIC DEFAULT 0 NOT NULL,
    swap NUMERIC DEFAULT 0 NOT NULL,
    fee NUMERIC DEFAULT 0 NOT NULL,
    fill_count INTEGER DEFAULT 0 NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_user_daily_stats PRIMARY KEY (account_id, user_id, day),
    CONSTRAINT fk_user_daily_stats_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id),
    CONSTRAINT fk_user_daily_stats_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);

CREATE TABLE fills (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    account_id UUID NOT NULL,
    ticket BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    trade_id UUID,
    broker_order_id BIGINT NOT NULL,
    position_id BIGINT NOT NULL,
    magic BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    kind TEXT NOT NULL,
    entry TEXT NOT NULL,
    reason TEXT NOT NULL,
    volume NUMERIC NOT NULL,
    price NUMERIC NOT NULL,
    commission NUMERIC NOT NULL,
    swap NUMERIC NOT NULL,
    fee NUMERIC NOT NULL,
    profit NUMERIC NOT NULL,
    currency TEXT NOT NULL,
    comment TEXT NOT NULL,
    executed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    booked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    source TEXT NOT NULL,
    CONSTRAINT pk_fills PRIMARY KEY (id),
    CONSTRAINT uq_fills_account_id_ticket_revision UNIQUE (account_id, ticket, revision),
    CONSTRAINT ck_fills_kind CHECK (kind IN ('trade', 'balance', 'credit', 'charge', 'correction', 'bonus', 'commission', 'interest', 'dividend', 'tax', 'cancelled', 'other')),
    CONSTRAINT ck_fills_entry CHECK (entry IN ('in', 'out', 'inout', 'out_by', 'none')),
    CONSTRAINT ck_fills_side CHECK (side IN ('buy', 'sell', '')),
    CONSTRAINT ck_fills_source CHECK (source IN ('submit', 'resolve', 'feed')),
    CONSTRAINT ck_fills_volume CHECK (volume >= 0),
    CONSTRAINT ck_fills_revision CHECK (revision > 0),
    CONSTRAINT fk_fills_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id),
    CONSTRAINT fk_fills_trade_id_trade_ledger FOREIGN KEY(trade_id) REFERENCES trade_ledger (id)
);
CREATE INDEX ix_fills_executed ON fills (account_id, executed_at);
CREATE INDEX ix_fills_position ON fills (account_id, position_id);
CREATE INDEX ix_fills_trade ON fills (trade_id);

CREATE TABLE risk_reservations (
    trade_id UUID NOT NULL,
    account_id UUID NOT NULL,
    user_id UUID NOT NULL,
    symbol TEXT NOT NULL,
    position_id BIGINT,
    state TEXT NOT NULL,
    counted BOOLEAN DEFAULT true NOT NULL,
    currency TEXT NOT NULL,
    volume NUMERIC NOT NULL,
    loss NUMERIC NOT NULL,
    notional NUMERIC NOT NULL,
    margin NUMERIC NOT NULL,
    reference_price NUMERIC NOT NULL,
    collar_points INTEGER NOT NULL,
    rates JSONB DEFAULT '{}'::jsonb NOT NULL,
    held_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_risk_reservations PRIMARY KEY (trade_id),
    CONSTRAINT fk_risk_reservations_account_id_user_id_exposure_totals FOREIGN KEY(account_id, user_id) REFERENCES exposure_totals (account_id, user_id),
    CONSTRAINT ck_risk_reservations_state CHECK (state IN ('held', 'settled', 'released', 'expired')),
    CONSTRAINT ck_risk_reservations_resolved_at CHECK ((state = 'held') = (resolved_at IS NULL)),
    CONSTRAINT ck_risk_reservations_amounts CHECK (volume >= 0 AND loss >= 0 AND notional >= 0 AND margin >= 0),
    CONSTRAINT ck_risk_reservations_counted CHECK (counted OR state <> 'held'),
    CONSTRAINT fk_risk_reservations_trade_id_trade_ledger FOREIGN KEY(trade_id) REFERENCES trade_ledger (id)
);
CREATE INDEX ix_risk_reservations_counted ON risk_reservations (account_id, user_id) WHERE counted;

CREATE TABLE send_attempts (
    trade_id UUID NOT NULL,
    number INTEGER NOT NULL,
    account_id UUID NOT NULL,
    magic BIGINT NOT NULL,
    lease_number BIGINT NOT NULL,
    claimed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    outcome TEXT,
    outcome_at TIMESTAMP WITH TIME ZONE,
    reason TEXT,
    retcode INTEGER,
    broker_order_id BIGINT,
    sender_ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_send_attempts PRIMARY KEY (trade_id, number),
    CONSTRAINT uq_send_attempts_account_id_magic_number UNIQUE (account_id, magic, number),
    CONSTRAINT ck_send_attempts_number CHECK (number > 0),
    CONSTRAINT ck_send_attempts_outcome CHECK (outcome IN ('accepted', 'rejected', 'unresolved', 'not_sent')),
    CONSTRAINT ck_send_attempts_outcome_at CHECK ((outcome IS NULL) = (outcome_at IS NULL)),
    CONSTRAINT fk_send_attempts_trade_id_trade_ledger FOREIGN KEY(trade_id) REFERENCES trade_ledger (id),
    CONSTRAINT fk_send_attempts_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id)
);

CREATE TABLE trade_commands (
    trade_id UUID NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    requested_by UUID NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    outcome TEXT,
    reason TEXT,
    outcome_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_trade_commands PRIMARY KEY (trade_id, key),
    CONSTRAINT ck_trade_commands_kind CHECK (kind IN ('cancel', 'modify', 'resolve')),
    CONSTRAINT ck_trade_commands_outcome CHECK (outcome IN ('done', 'refused', 'unknown')),
    CONSTRAINT fk_trade_commands_trade_id_trade_ledger FOREIGN KEY(trade_id) REFERENCES trade_ledger (id),
    CONSTRAINT fk_trade_commands_requested_by_users FOREIGN KEY(requested_by) REFERENCES users (id)
);

CREATE TABLE fill_allocations (
    fill_id BIGINT NOT NULL,
    line INTEGER NOT NULL,
    trade_id UUID,
    owner TEXT NOT NULL,
    role TEXT NOT NULL,
    volume NUMERIC NOT NULL,
    profit NUMERIC NOT NULL,
    commission NUMERIC NOT NULL,
    swap NUMERIC NOT NULL,
    fee NUMERIC NOT NULL,
    CONSTRAINT pk_fill_allocations PRIMARY KEY (fill_id, line),
    CONSTRAINT ck_fill_allocations_owner CHECK (owner IN ('trade', 'external')),
    CONSTRAINT ck_fill_allocations_trade_id CHECK ((owner = 'trade') = (trade_id IS NOT NULL)),
    CONSTRAINT ck_fill_allocations_role CHECK (role IN ('open', 'close', 'money')),
    CONSTRAINT fk_fill_allocations_fill_id_fills FOREIGN KEY(fill_id) REFERENCES fills (id),
    CONSTRAINT fk_fill_allocations_trade_id_trade_ledger FOREIGN KEY(trade_id) REFERENCES trade_ledger (id)
);
CREATE INDEX ix_fill_allocations_trade ON fill_allocations (trade_id);

CREATE TABLE ledger_entries (
    event_id UUID NOT NULL,
    line INTEGER NOT NULL,
    ledger_account_id BIGINT NOT NULL,
    currency TEXT NOT NULL,
    amount NUMERIC NOT NULL,
    fill_id BIGINT,
    trade_id UUID,
    reverses_event_id UUID,
    description TEXT NOT NULL,
    posted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_ledger_entries PRIMARY KEY (event_id, line),
    CONSTRAINT ck_ledger_entries_amount CHECK (amount <> 0),
    CONSTRAINT fk_ledger_entries_ledger_account_id_ledger_accounts FOREIGN KEY(ledger_account_id) REFERENCES ledger_accounts (id),
    CONSTRAINT fk_ledger_entries_fill_id_fills FOREIGN KEY(fill_id) REFERENCES fills (id),
    CONSTRAINT fk_ledger_entries_trade_id_trade_ledger FOREIGN KEY(trade_id) REFERENCES trade_ledger (id)
);
CREATE INDEX ix_ledger_entries_account ON ledger_entries (ledger_account_id);
CREATE INDEX ix_ledger_entries_posted ON ledger_entries (posted_at, event_id);
CREATE INDEX ix_ledger_entries_trade ON ledger_entries (trade_id);

CREATE TABLE risk_adjustments (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    trade_id UUID NOT NULL,
    cause TEXT NOT NULL,
    fill_id BIGINT,
    volume NUMERIC NOT NULL,
    loss NUMERIC NOT NULL,
    notional NUMERIC NOT NULL,
    margin NUMERIC NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_risk_adjustments PRIMARY KEY (id),
    CONSTRAINT ck_risk_adjustments_cause CHECK (cause IN ('held', 'filled', 'settled', 'released', 'expired', 'snapshot')),
    CONSTRAINT fk_risk_adjustments_trade_id_risk_reservations FOREIGN KEY(trade_id) REFERENCES risk_reservations (trade_id),
    CONSTRAINT fk_risk_adjustments_fill_id_fills FOREIGN KEY(fill_id) REFERENCES fills (id)
);
CREATE INDEX ix_risk_adjustments_trade ON risk_adjustments (trade_id);
