-- What the tables cannot say by themselves: the moves of a trade, history that stays, sums that hold, and who may
-- write what. A rule that the code already keeps stands here again, for the day the code is wrong.

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON broker_accounts FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON trade_ledger FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON exposure_totals FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON user_daily_stats FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- The moves of `domain/orders.py: TRANSITIONS`, repeated; a test compares the two.
CREATE FUNCTION trade_state_may_become(old_state text, new_state text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE old_state
        WHEN 'pending' THEN new_state IN ('cancelled', 'denied', 'expired', 'filled', 'partially_filled', 'rejected', 'unresolved', 'working')
        WHEN 'working' THEN new_state IN ('cancelled', 'expired', 'filled', 'partially_filled', 'rejected')
        WHEN 'partially_filled' THEN new_state IN ('cancelled', 'expired', 'filled')
        WHEN 'filled' THEN false
        WHEN 'cancelled' THEN new_state IN ('filled')
        WHEN 'expired' THEN new_state IN ('filled')
        WHEN 'rejected' THEN new_state IN ('cancelled', 'filled')
        WHEN 'denied' THEN new_state IN ('cancelled', 'filled')
        WHEN 'unresolved' THEN new_state IN ('cancelled', 'expired', 'filled', 'partially_filled', 'rejected', 'working')
        ELSE false
    END
$$;

CREATE FUNCTION guard_trade() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'pending' THEN
            RAISE EXCEPTION 'a trade begins pending, not %', NEW.state USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND NOT trade_state_may_become(OLD.state, NEW.state) THEN
        RAISE EXCEPTION 'a trade that is % cannot become %', OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.id, NEW.user_id, NEW.account_id, NEW.client_order_id, NEW.body_hash, NEW.magic, NEW.symbol, NEW.side,
        NEW.order_type, NEW.volume, NEW.submit_by, NEW.received_at)
       IS DISTINCT FROM
       (OLD.id, OLD.user_id, OLD.account_id, OLD.client_order_id, OLD.body_hash, OLD.magic, OLD.symbol, OLD.side,
        OLD.order_type, OLD.volume, OLD.submit_by, OLD.received_at) THEN
        RAISE EXCEPTION 'the intent of trade % does not change', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON trade_ledger FOR EACH ROW EXECUTE FUNCTION guard_trade();

-- A claim is made once and keeps who made it; an outcome is written once, or once more after unresolved.
CREATE FUNCTION guard_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.trade_id, NEW.number, NEW.account_id, NEW.magic, NEW.lease_number, NEW.claimed_at)
       IS DISTINCT FROM
       (OLD.trade_id, OLD.number, OLD.account_id, OLD.magic, OLD.lease_number, OLD.claimed_at) THEN
        RAISE EXCEPTION 'a claim does not change' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.outcome IN ('accepted', 'rejected', 'not_sent') AND NEW.outcome IS DISTINCT FROM OLD.outcome THEN
        RAISE EXCEPTION 'the attempt is already %', OLD.outcome USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON send_attempts FOR EACH ROW EXECUTE FUNCTION guard_attempt();

-- The next attempt is claimed only when the one before is proven dead.
CREATE FUNCTION guard_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.number > 1 AND NOT EXISTS (
        SELECT 1 FROM send_attempts
        WHERE trade_id = NEW.trade_id AND number = NEW.number - 1 AND outcome = 'rejected'
    ) THEN
        RAISE EXCEPTION 'attempt % of a trade follows one that was rejected', NEW.number
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_claim BEFORE INSERT ON send_attempts FOR EACH ROW EXECUTE FUNCTION guard_claim();

CREATE FUNCTION guard_reservation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'held' AND NEW.state <> OLD.state THEN
        RAISE EXCEPTION 'the reservation is already %', OLD.state USING ERRCODE = 'check_violation';
    END IF;
    IF NOT OLD.counted AND NEW.counted THEN
        RAISE EXCEPTION 'a reservation is not counted again' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON risk_reservations FOR EACH ROW EXECUTE FUNCTION guard_reservation();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fills
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fill_allocations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON risk_adjustments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Both sums are checked when the transaction commits, once all their lines are there.
CREATE FUNCTION check_entries_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off record;
BEGIN
    SELECT currency, sum(amount) AS total INTO off FROM ledger_entries
    WHERE event_id = NEW.event_id GROUP BY currency HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entries of event % are off by % %', NEW.event_id, off.total, off.currency
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER balance AFTER INSERT ON ledger_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_entries_balance();

-- Lines of a later revision take back those of the one before, so all lines of a ticket sum to its newest fill.
CREATE FUNCTION check_fill_allocated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    allocated record;
BEGIN
    SELECT coalesce(sum(a.volume), 0) AS volume, coalesce(sum(a.profit), 0) AS profit,
           coalesce(sum(a.commission), 0) AS commission, coalesce(sum(a.swap), 0) AS swap,
           coalesce(sum(a.fee), 0) AS fee
    INTO allocated
    FROM fill_allocations a JOIN fills f ON f.id = a.fill_id
    WHERE f.account_id = NEW.account_id AND f.ticket = NEW.ticket;
    IF (allocated.volume, allocated.profit, allocated.commission, allocated.swap, allocated.fee)
       <> (NEW.volume, NEW.profit, NEW.commission, NEW.swap, NEW.fee)
       AND NOT EXISTS (SELECT 1 FROM fills WHERE account_id = NEW.account_id AND ticket = NEW.ticket
                       AND revision > NEW.revision) THEN
        RAISE EXCEPTION 'fill % is not allocated in full', NEW.ticket USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER allocated AFTER INSERT ON fills
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_fill_allocated();

-- A line that is added later is checked as well: through the fill that it belongs to.
CREATE FUNCTION check_line_of_fill() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest fills;
    off boolean;
BEGIN
    SELECT n.* INTO newest FROM fills f JOIN fills n ON n.account_id = f.account_id AND n.ticket = f.ticket
    WHERE f.id = NEW.fill_id ORDER BY n.revision DESC LIMIT 1;
    SELECT (sum(a.volume), sum(a.profit), sum(a.commission), sum(a.swap), sum(a.fee))
           <> (newest.volume, newest.profit, newest.commission, newest.swap, newest.fee)
    INTO off
    FROM fill_allocations a JOIN fills f ON f.id = a.fill_id
    WHERE f.account_id = newest.account_id AND f.ticket = newest.ticket;
    IF off THEN
        RAISE EXCEPTION 'the lines of fill % do not sum to it', newest.ticket USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER allocated AFTER INSERT ON fill_allocations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_line_of_fill();

-- The workers may tighten a control; opening one again takes another role.
CREATE FUNCTION guard_control() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    grades text[] := ARRAY['active', 'reduce_only', 'halted'];
BEGIN
    IF current_user IN ('nexus_pipeline', 'nexus_broker')
       AND array_position(grades, NEW.state) < array_position(grades, OLD.state) THEN
        RAISE EXCEPTION '% may not open trading again', current_user USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON trading_control FOR EACH ROW EXECUTE FUNCTION guard_control();

-- What a record of the broker says now: its newest revision.
CREATE VIEW current_fills AS
    SELECT DISTINCT ON (account_id, ticket) * FROM fills ORDER BY account_id, ticket, revision DESC;

INSERT INTO trading_control (scope, scope_id, state, cause, reason, set_by)
VALUES ('all', '', 'active', 'install', 'initial state', 'system');

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO nexus_api, nexus_pipeline, nexus_broker, nexus_sealer;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO nexus_api, nexus_pipeline, nexus_broker;
REVOKE SELECT ON users FROM nexus_pipeline, nexus_broker;
GRANT SELECT (id, username, role, enabled) ON users TO nexus_pipeline, nexus_broker;
GRANT SELECT ON audit_log TO nexus_sealer;

GRANT INSERT ON audit_log, events TO nexus_api, nexus_pipeline, nexus_broker;

GRANT USAGE ON SEQUENCE order_magic TO nexus_pipeline;
GRANT INSERT, UPDATE ON trade_ledger, risk_reservations, exposure_totals, trade_commands TO nexus_pipeline;
GRANT INSERT ON risk_adjustments, alerts TO nexus_pipeline;
-- The stop latches from both sides, and a claim holds its rows still while it checks them.
GRANT INSERT, UPDATE ON trading_control TO nexus_pipeline, nexus_broker;

GRANT UPDATE ON trade_ledger, risk_reservations, exposure_totals TO nexus_broker;
GRANT INSERT, UPDATE ON send_attempts, trade_commands, quotes, account_snapshots, user_daily_stats,
    instruments TO nexus_broker;
GRANT INSERT, UPDATE, DELETE ON broker_positions TO nexus_broker;
GRANT UPDATE (currency, leverage, lease_number, lease_holder, lease_terminal, lease_taken_at, lease_expires_at,
    updated_at) ON broker_accounts TO nexus_broker;
GRANT INSERT ON fills, fill_allocations, risk_adjustments, ledger_accounts, ledger_entries, position_marks, alerts
    TO nexus_broker;
