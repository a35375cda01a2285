CREATE TABLE reconciliation_log (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    cause TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    watermark BIGINT NOT NULL,
    counts JSONB NOT NULL,
    totals JSONB NOT NULL,
    explained JSONB NOT NULL,
    report JSONB,
    CONSTRAINT pk_reconciliation_log PRIMARY KEY (id),
    CONSTRAINT ck_reconciliation_log_cause CHECK (cause IN ('schedule', 'startup', 'reconnect', 'request')),
    CONSTRAINT ck_reconciliation_log_verdict CHECK (verdict IN ('clean', 'explained', 'waiting', 'corrected', 'review', 'stopped', 'inconclusive')),
    CONSTRAINT fk_reconciliation_log_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id)
);
CREATE INDEX ix_reconciliation_log_account ON reconciliation_log (account_id, ended_at DESC);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE discrepancies (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    symbol TEXT NOT NULL,
    number BIGINT,
    state TEXT NOT NULL,
    tier TEXT NOT NULL,
    ours NUMERIC,
    theirs NUMERIC,
    impact_usd NUMERIC,
    evidence JSONB NOT NULL,
    first_run_id UUID NOT NULL,
    last_run_id UUID NOT NULL,
    run_count INTEGER DEFAULT 1 NOT NULL,
    found_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    decision TEXT,
    decided_by TEXT,
    reason TEXT,
    ended_at TIMESTAMP WITH TIME ZONE,
    event_id UUID,
    cause TEXT,
    cause_ticket BIGINT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_discrepancies PRIMARY KEY (id),
    CONSTRAINT ck_discrepancies_kind CHECK (kind IN ('balance', 'credit', 'equity', 'position_unknown', 'position_missing', 'position_volume', 'position_price', 'order_unknown', 'order_missing')),
    CONSTRAINT ck_discrepancies_state CHECK (state IN ('kept_out', 'open', 'disputed', 'passed', 'explained', 'corrected', 'accepted', 'adopted', 'closed')),
    CONSTRAINT ck_discrepancies_tier CHECK (tier IN ('correct', 'review', 'stop')),
    CONSTRAINT ck_discrepancies_decision CHECK (decision IN ('accept', 'adopt', 'close', 'dispute')),
    CONSTRAINT ck_discrepancies_run_count CHECK (run_count > 0),
    CONSTRAINT fk_discrepancies_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id)
);
-- One of a kind waits at a time; what it amounts to follows what is seen.
CREATE UNIQUE INDEX ix_discrepancies_waiting ON discrepancies (account_id, kind, subject)
    WHERE state IN ('kept_out', 'open', 'disputed');
CREATE INDEX ix_discrepancies_found ON discrepancies (found_at DESC, id DESC);
CREATE INDEX ix_discrepancies_corrected ON discrepancies (account_id, ended_at)
    WHERE state IN ('corrected', 'accepted', 'adopted');
CREATE TRIGGER touch BEFORE UPDATE ON discrepancies FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE FUNCTION guard_discrepancy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
        ('kept_out', 'open'), ('kept_out', 'corrected'), ('kept_out', 'passed'),
        ('open', 'disputed'), ('open', 'explained'), ('open', 'accepted'), ('open', 'adopted'), ('open', 'closed'),
        ('disputed', 'explained'), ('disputed', 'accepted'), ('disputed', 'adopted'), ('disputed', 'closed'),
        ('corrected', 'explained'), ('accepted', 'explained'), ('adopted', 'explained')) THEN
        RAISE EXCEPTION 'a discrepancy does not go from % to %', OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state = NEW.state AND OLD.state NOT IN ('kept_out', 'open', 'disputed') THEN
        RAISE EXCEPTION 'a discrepancy that is % does not change', OLD.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON discrepancies FOR EACH ROW EXECUTE FUNCTION guard_discrepancy();

-- What was accepted of a position though no record explains it: signed lots, added to what the fills say.
CREATE TABLE position_adjustments (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    position_id BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    lots NUMERIC NOT NULL,
    price NUMERIC,
    discrepancy_id UUID,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_position_adjustments PRIMARY KEY (id),
    CONSTRAINT ck_position_adjustments_lots CHECK (lots <> 0),
    CONSTRAINT fk_position_adjustments_account_id_broker_accounts FOREIGN KEY(account_id) REFERENCES broker_accounts (id),
    CONSTRAINT fk_position_adjustments_discrepancy_id_discrepancies FOREIGN KEY(discrepancy_id) REFERENCES discrepancies (id)
);
CREATE INDEX ix_position_adjustments_position ON position_adjustments (account_id, position_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON position_adjustments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Set when a sender takes the account up, until a run has read it: nothing is opened before.
ALTER TABLE broker_accounts ADD COLUMN unreconciled_since TIMESTAMP WITH TIME ZONE;

GRANT SELECT ON reconciliation_log, discrepancies, position_adjustments TO nexus_api, nexus_pipeline, nexus_broker;
GRANT INSERT ON reconciliation_log, position_adjustments, ledger_accounts, ledger_entries TO nexus_pipeline;
GRANT INSERT, UPDATE ON discrepancies TO nexus_pipeline;
GRANT INSERT ON position_adjustments TO nexus_broker;
GRANT UPDATE ON discrepancies TO nexus_broker;
GRANT UPDATE (cleared_at) ON alerts TO nexus_pipeline;
GRANT UPDATE (unreconciled_since, updated_at) ON broker_accounts TO nexus_pipeline, nexus_broker;
