-- A close by an opposite position holds the lots of both.

ALTER TABLE trade_ledger
    ADD COLUMN close_by_position_id BIGINT,
    ADD CONSTRAINT ck_trade_ledger_close_by CHECK (
        close_by_position_id IS NULL OR (position_id IS NOT NULL AND position_id <> close_by_position_id));
ALTER TABLE risk_reservations ADD COLUMN close_by_position_id BIGINT;
-- Until the instruments are read again, nothing is closed so.
ALTER TABLE instruments ADD COLUMN close_by BOOLEAN DEFAULT false NOT NULL;

CREATE OR REPLACE FUNCTION guard_trade() RETURNS trigger LANGUAGE plpgsql AS $$
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
        NEW.order_type, NEW.volume, NEW.submit_by, NEW.received_at, NEW.position_id, NEW.close_by_position_id)
       IS DISTINCT FROM
       (OLD.id, OLD.user_id, OLD.account_id, OLD.client_order_id, OLD.body_hash, OLD.magic, OLD.symbol, OLD.side,
        OLD.order_type, OLD.volume, OLD.submit_by, OLD.received_at, OLD.position_id, OLD.close_by_position_id) THEN
        RAISE EXCEPTION 'the intent of trade % does not change', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
