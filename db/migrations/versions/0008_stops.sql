-- A stop is a row of its own: what was asked for, when it latched, was in force and flat, and its certificate.

CREATE TABLE emergency_stops (
    id UUID NOT NULL,
    scope TEXT NOT NULL,
    scope_id TEXT NOT NULL,
    mode TEXT NOT NULL,
    cancel_orders BOOLEAN NOT NULL,
    flatten BOOLEAN NOT NULL,
    include_external BOOLEAN NOT NULL,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    resume_role TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
    latched_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    in_force_at TIMESTAMP WITH TIME ZONE,
    flat_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    resumed_at TIMESTAMP WITH TIME ZONE,
    certificate JSONB DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT pk_emergency_stops PRIMARY KEY (id),
    CONSTRAINT ck_emergency_stops_scope CHECK (scope IN ('all', 'account', 'user', 'symbol')),
    CONSTRAINT ck_emergency_stops_mode CHECK (mode IN ('reduce_only', 'halted')),
    CONSTRAINT ck_emergency_stops_cause CHECK (cause IN ('person', 'daily_loss', 'rolling_loss', 'unexplained_difference', 'surplus_send', 'repeated_slippage', 'link_lost', 'audit_broken', 'evaluation_failed')),
    CONSTRAINT ck_emergency_stops_resume_role CHECK (resume_role IN ('risk', 'admin')),
    CONSTRAINT ck_emergency_stops_scope_id CHECK ((scope = 'all') = (scope_id = ''))
);
CREATE INDEX ix_emergency_stops_open ON emergency_stops (latched_at) WHERE ended_at IS NULL;

ALTER TABLE trading_control
    ADD COLUMN stop_id UUID,
    ADD CONSTRAINT fk_trading_control_stop_id_emergency_stops FOREIGN KEY(stop_id) REFERENCES emergency_stops (id);
ALTER TABLE trade_ledger
    ADD COLUMN stop_id UUID,
    ADD CONSTRAINT fk_trade_ledger_stop_id_emergency_stops FOREIGN KEY(stop_id) REFERENCES emergency_stops (id);
CREATE INDEX ix_trade_ledger_stop ON trade_ledger (stop_id) WHERE stop_id IS NOT NULL;

-- What was asked for does not change, and no instant of a stop is taken back.
CREATE FUNCTION guard_stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.scope, NEW.scope_id, NEW.mode, NEW.cancel_orders, NEW.flatten, NEW.include_external, NEW.cause,
        NEW.reason, NEW.requested_by, NEW.resume_role, NEW.requested_at, NEW.latched_at)
       IS DISTINCT FROM
       (OLD.id, OLD.scope, OLD.scope_id, OLD.mode, OLD.cancel_orders, OLD.flatten, OLD.include_external, OLD.cause,
        OLD.reason, OLD.requested_by, OLD.resume_role, OLD.requested_at, OLD.latched_at) THEN
        RAISE EXCEPTION 'a stop does not change' USING ERRCODE = 'check_violation';
    END IF;
    IF (OLD.in_force_at IS NOT NULL AND NEW.in_force_at IS DISTINCT FROM OLD.in_force_at)
        OR (OLD.flat_at IS NOT NULL AND NEW.flat_at IS DISTINCT FROM OLD.flat_at)
        OR (OLD.ended_at IS NOT NULL AND NEW.ended_at IS DISTINCT FROM OLD.ended_at)
        OR (OLD.resumed_at IS NOT NULL AND NEW.resumed_at IS DISTINCT FROM OLD.resumed_at) THEN
        RAISE EXCEPTION 'what a stop reached stays' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON emergency_stops FOR EACH ROW EXECUTE FUNCTION guard_stop();

GRANT SELECT, INSERT, UPDATE ON emergency_stops TO nexus_api, nexus_pipeline, nexus_broker;
-- Anybody's stop latches; opening trading again takes the API, which asks who does it.
GRANT INSERT, UPDATE ON trading_control TO nexus_api;
GRANT INSERT ON alerts TO nexus_api;
