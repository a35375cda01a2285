-- Everything that a reservation is judged against is locked in one call, in the order of all: the trade's row (by the
-- caller), the account's queue, the totals by user. Whether the trade has a reservation already is the answer.
CREATE FUNCTION begin_reserving(trade uuid, account uuid, whose uuid, trade_state text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM risk_reservations WHERE trade_id = trade) THEN
        RETURN true;
    END IF;
    IF trade_state <> 'pending' THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('reserving:' || account, 0));
    PERFORM 1 FROM exposure_totals WHERE account_id = account ORDER BY user_id FOR UPDATE;
    IF NOT EXISTS (SELECT FROM exposure_totals WHERE account_id = account AND user_id = whose) THEN
        INSERT INTO exposure_totals (account_id, user_id) VALUES (account, whose) ON CONFLICT DO NOTHING;
        PERFORM 1 FROM exposure_totals WHERE account_id = account ORDER BY user_id FOR UPDATE;
    END IF;
    RETURN false;
END $$;
GRANT EXECUTE ON FUNCTION begin_reserving TO nexus_pipeline;

-- An order that may be at the broker keeps its reservation however long that takes to find out.
ALTER TABLE risk_reservations ADD COLUMN recovered BOOLEAN DEFAULT false NOT NULL;

-- What the newest reservation left room for: the code has checked it, and a total beyond it does not commit. A total
-- may lie beyond only after a limit was tightened or what is recovered was held; then it can but fall.
ALTER TABLE exposure_totals
    ADD COLUMN loss_room NUMERIC,
    ADD COLUMN notional_room NUMERIC,
    ADD COLUMN margin_room NUMERIC,
    ADD CONSTRAINT ck_exposure_totals_loss_room CHECK (loss_room IS NULL OR held_loss <= loss_room),
    ADD CONSTRAINT ck_exposure_totals_notional_room CHECK (notional_room IS NULL OR held_notional <= notional_room),
    ADD CONSTRAINT ck_exposure_totals_margin_room CHECK (margin_room IS NULL OR held_margin <= margin_room);
