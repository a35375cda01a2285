-- The audit record: where each change came from, the chain that it is sealed into, and what guards both.

-- Rows of before are not stamped with what holds now, so the defaults come after the columns.
ALTER TABLE audit_log ADD COLUMN address TEXT, ADD COLUMN request_id TEXT, ADD COLUMN trace_id TEXT,
    ADD COLUMN key_id TEXT, ADD COLUMN process TEXT, ADD COLUMN role TEXT, ADD COLUMN version TEXT;
ALTER TABLE audit_log
    ALTER COLUMN process SET DEFAULT current_setting('application_name'),
    ALTER COLUMN role SET DEFAULT SESSION_USER,
    ALTER COLUMN version SET DEFAULT current_setting('nexus.version', true);
ALTER TABLE audit_log ADD CONSTRAINT ck_audit_log_xact CHECK (xact > 0);
CREATE INDEX ix_audit_log_xact ON audit_log (xact, id);
CREATE INDEX ix_audit_log_request ON audit_log (request_id, id) WHERE request_id IS NOT NULL;

-- What went over the wire of a send, for whoever has to show it.
ALTER TABLE send_attempts ADD COLUMN request JSONB, ADD COLUMN answer JSONB;

-- The sealed rows in their order, each with its link.
CREATE TABLE audit_chain (
    seq BIGINT NOT NULL,
    audit_id BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    CONSTRAINT pk_audit_chain PRIMARY KEY (seq),
    CONSTRAINT ck_audit_chain_seq CHECK (seq > 0),
    CONSTRAINT ck_audit_chain_hash CHECK (octet_length(hash) = 32),
    CONSTRAINT fk_audit_chain_audit_id_audit_log FOREIGN KEY(audit_id) REFERENCES audit_log (id),
    CONSTRAINT uq_audit_chain_audit_id UNIQUE (audit_id)
);

-- Whose turn it is to seal: whoever holds its one row.
CREATE TABLE audit_sealing (
    id BOOLEAN DEFAULT true NOT NULL,
    CONSTRAINT pk_audit_sealing PRIMARY KEY (id),
    CONSTRAINT ck_audit_sealing_one CHECK (id)
);
INSERT INTO audit_sealing DEFAULT VALUES;

-- All rows of the transactions before `horizon` that no seal before has.
CREATE TABLE audit_seals (
    number BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    horizon BIGINT NOT NULL,
    root BYTEA NOT NULL,
    head BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    sealed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_audit_seals PRIMARY KEY (number),
    CONSTRAINT ck_audit_seals_place CHECK (number > 0 AND first_seq > 0 AND last_seq >= first_seq),
    CONSTRAINT ck_audit_seals_hashes CHECK (octet_length(root) = 32 AND octet_length(head) = 32 AND octet_length(digest) = 32),
    CONSTRAINT uq_audit_seals_first_seq UNIQUE (first_seq)
);

-- What was told to places outside of the database, and which of them took it.
CREATE TABLE audit_anchors (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    seal_number BIGINT NOT NULL,
    line TEXT NOT NULL,
    places TEXT[] NOT NULL,
    anchored_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_audit_anchors PRIMARY KEY (id),
    CONSTRAINT fk_audit_anchors_seal_number_audit_seals FOREIGN KEY(seal_number) REFERENCES audit_seals (number)
);
CREATE INDEX ix_audit_anchors_seal_number ON audit_anchors (seal_number);

-- What was found not to be as it was sealed; it stops trading until a person has looked into it.
CREATE TABLE audit_faults (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    seal_number BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    message TEXT NOT NULL,
    found_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    accepted_at TIMESTAMP WITH TIME ZONE,
    accepted_by TEXT,
    reason TEXT,
    CONSTRAINT pk_audit_faults PRIMARY KEY (id),
    CONSTRAINT uq_audit_faults_place UNIQUE (kind, seal_number, seq),
    CONSTRAINT ck_audit_faults_accepted CHECK ((accepted_at IS NULL) = (accepted_by IS NULL)),
    CONSTRAINT ck_audit_faults_reason CHECK ((accepted_at IS NULL) = (reason IS NULL))
);

-- Two sealers at once would fork the chain; the second one's seal finds its place taken.
CREATE FUNCTION guard_seal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest audit_seals;
BEGIN
    SELECT * INTO newest FROM audit_seals ORDER BY number DESC LIMIT 1;
    IF NEW.number <> coalesce(newest.number, 0) + 1 OR NEW.first_seq <> coalesce(newest.last_seq, 0) + 1
       OR NEW.horizon <= coalesce(newest.horizon, 0) THEN
        RAISE EXCEPTION 'seal % does not follow seal %', NEW.number, newest.number USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON audit_seals FOR EACH ROW EXECUTE FUNCTION guard_seal();

CREATE FUNCTION guard_fault() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.accepted_at IS NOT NULL THEN
        RAISE EXCEPTION 'audit fault % is already accepted', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON audit_faults FOR EACH ROW EXECUTE FUNCTION guard_fault();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_anchors
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON audit_faults
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A session in the mode of a replica skips triggers that are not marked so.
ALTER TABLE fills ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE fill_allocations ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE risk_adjustments ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE events ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE reconciliation_log ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE position_adjustments ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit_chain ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit_seals ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit_anchors ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit_faults ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit_seals ENABLE ALWAYS TRIGGER guard;

-- Who writes a row says what happened and for whom; when, by which role and in which transaction is not theirs to say.
REVOKE INSERT ON audit_log FROM nexus_api, nexus_pipeline, nexus_broker;
GRANT INSERT (actor, action, subject, detail, address, request_id, trace_id, key_id) ON audit_log
    TO nexus_api, nexus_pipeline, nexus_broker;

GRANT SELECT ON audit_chain, audit_seals, audit_anchors, audit_faults TO nexus_api, nexus_sealer;
GRANT SELECT ON audit_faults, audit_seals, audit_anchors TO nexus_pipeline, nexus_broker;
GRANT INSERT ON audit_chain, audit_seals, audit_anchors, audit_faults, alerts TO nexus_sealer;
GRANT SELECT ON alerts TO nexus_sealer;
GRANT SELECT, UPDATE ON audit_sealing TO nexus_sealer;
GRANT UPDATE (accepted_at, accepted_by, reason) ON audit_faults TO nexus_api;
