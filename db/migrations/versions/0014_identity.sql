-- Identity: sessions and their tokens, tries to log in, second factors, and what waits for a second person.

-- Who is logged in from where; ended for good, and told apart from what only expired.
CREATE TABLE sessions (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    refreshed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    proven_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    proven_by TEXT NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    end_cause TEXT,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT ck_sessions_proven_by CHECK (proven_by IN ('password', 'totp', 'webauthn', 'recovery')),
    CONSTRAINT ck_sessions_end_cause CHECK (end_cause IN ('logout', 'ended', 'reuse', 'password', 'factors', 'disabled')),
    CONSTRAINT ck_sessions_ended_at CHECK ((ended_at IS NULL) = (end_cause IS NULL)),
    CONSTRAINT fk_sessions_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_sessions_from ON sessions (user_id, address);
CREATE INDEX ix_sessions_live ON sessions (user_id) WHERE ended_at IS NULL;

-- Each replaces the one before it; of a session at most one is unused.
CREATE TABLE refresh_tokens (
    token_hash TEXT NOT NULL,
    session_id UUID NOT NULL,
    parent_hash TEXT,
    issued_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_refresh_tokens PRIMARY KEY (token_hash),
    CONSTRAINT fk_refresh_tokens_session_id_sessions FOREIGN KEY(session_id) REFERENCES sessions (id),
    CONSTRAINT uq_refresh_tokens_parent_hash UNIQUE (parent_hash),
    CONSTRAINT fk_refresh_tokens_parent_hash_refresh_tokens FOREIGN KEY(parent_hash) REFERENCES refresh_tokens (token_hash)
);
CREATE INDEX ix_refresh_tokens_session ON refresh_tokens (session_id);

-- Access tokens that were taken back before their time, by the SHA-256 of their id.
CREATE TABLE revoked_tokens (
    token_hash TEXT NOT NULL,
    user_id UUID NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_revoked_tokens PRIMARY KEY (token_hash),
    CONSTRAINT fk_revoked_tokens_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_revoked_tokens_expires_at ON revoked_tokens (expires_at);

-- One row per name and per address that somebody tried to log in by.
CREATE TABLE login_tries (
    key TEXT NOT NULL,
    count INTEGER NOT NULL,
    tried_at TIMESTAMP WITH TIME ZONE NOT NULL,
    open_at TIMESTAMP WITH TIME ZONE NOT NULL,
    admitted BOOLEAN NOT NULL,
    refused_count BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_login_tries PRIMARY KEY (key)
);
CREATE INDEX ix_login_tries_tried_at ON login_tries (tried_at);

-- Logins whose password was right and whose second factor is awaited.
CREATE TABLE pending_logins (
    token_hash TEXT NOT NULL,
    user_id UUID NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_pending_logins PRIMARY KEY (token_hash),
    CONSTRAINT fk_pending_logins_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);

CREATE TABLE factors (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    secret BYTEA,
    last_step BIGINT,
    credential_id BYTEA,
    public_key BYTEA,
    sign_count BIGINT,
    added_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    used_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_factors PRIMARY KEY (id),
    CONSTRAINT ck_factors_kind CHECK (kind IN ('totp', 'webauthn')),
    CONSTRAINT ck_factors_secret CHECK ((kind = 'totp') = (secret IS NOT NULL)),
    CONSTRAINT ck_factors_credential CHECK ((kind = 'webauthn') = (credential_id IS NOT NULL AND public_key IS NOT NULL AND sign_count IS NOT NULL)),
    CONSTRAINT fk_factors_user_id_users FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_factors_credential_id UNIQUE (credential_id)
);
CREATE INDEX ix_factors_user_id ON factors (user_id);

CREATE TABLE recovery_codes (
    code_hash TEXT NOT NULL,
    user_id UUID NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_recovery_codes PRIMARY KEY (code_hash),
    CONSTRAINT fk_recovery_codes_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_recovery_codes_user_id ON recovery_codes (user_id);

-- Given to a browser to sign, and taken back once.
CREATE TABLE webauthn_challenges (
    challenge TEXT NOT NULL,
    user_id UUID NOT NULL,
    purpose TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_webauthn_challenges PRIMARY KEY (challenge),
    CONSTRAINT ck_webauthn_challenges_purpose CHECK (purpose IN ('enrol', 'prove')),
    CONSTRAINT fk_webauthn_challenges_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
);

-- What waits for a second person, with the request as it was made.
CREATE TABLE approvals (
    id UUID NOT NULL,
    what TEXT NOT NULL,
    body JSONB NOT NULL,
    body_hash TEXT NOT NULL,
    summary TEXT NOT NULL,
    requested_by UUID NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT DEFAULT 'waiting' NOT NULL,
    decided_by UUID,
    decided_at TIMESTAMP WITH TIME ZONE,
    reason TEXT,
    CONSTRAINT pk_approvals PRIMARY KEY (id),
    CONSTRAINT ck_approvals_what CHECK (what IN ('resume', 'limit')),
    CONSTRAINT ck_approvals_state CHECK (state IN ('waiting', 'approved', 'refused')),
    CONSTRAINT ck_approvals_decided CHECK ((state = 'waiting') = (decided_by IS NULL)),
    CONSTRAINT ck_approvals_decided_at CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CONSTRAINT ck_approvals_second_person CHECK (decided_by <> requested_by),
    CONSTRAINT fk_approvals_requested_by_users FOREIGN KEY(requested_by) REFERENCES users (id),
    CONSTRAINT fk_approvals_decided_by_users FOREIGN KEY(decided_by) REFERENCES users (id)
);
CREATE INDEX ix_approvals_requested_at ON approvals (requested_at);

-- Whether a token still lets its bearer in. Every request asks, in the statement that reads its user.
CREATE FUNCTION lets_in(bearer uuid, bearer_session uuid, token text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT FROM revoked_tokens r WHERE r.token_hash = token)
       AND (bearer_session IS NULL OR EXISTS (
               SELECT FROM sessions s
               WHERE s.id = bearer_session AND s.user_id = bearer AND s.ended_at IS NULL
                 AND s.expires_at > clock_timestamp()))
$$;

-- What a row becomes by one more try: counted, and its door closed for longer, or refused at a closed door.
CREATE FUNCTION next_try(
    tried login_tries, at timestamptz, free integer, first_delay integer, longest_delay integer,
    OUT count integer, OUT tried_at timestamptz, OUT open_at timestamptz, OUT admitted boolean,
    OUT refused_count bigint
) LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- While tries are free, no door is closed: of two at once, the earlier one may come to the row last.
    admitted := tried.count < free OR tried.open_at <= at;
    count := tried.count;
    tried_at := tried.tried_at;
    open_at := tried.open_at;
    refused_count := tried.refused_count;
    IF NOT admitted THEN
        refused_count := refused_count + 1;
        RETURN;
    END IF;
    count := CASE WHEN tried.tried_at < at - interval '1 day' THEN 1 ELSE count + 1 END;
    tried_at := greatest(tried.tried_at, at);
    IF count >= free THEN
        open_at := at + make_interval(secs => least(first_delay * 2.0 ^ least(count - free, 20), longest_delay));
    END IF;
END $$;

CREATE FUNCTION guard_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.ended_at IS NOT NULL THEN
        RAISE EXCEPTION 'session % is over', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.id, NEW.user_id, NEW.began_at, NEW.expires_at)
       IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.began_at, OLD.expires_at) THEN
        RAISE EXCEPTION 'session % does not change', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION guard_session();

CREATE FUNCTION guard_refresh_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.used_at IS NOT NULL THEN
        RAISE EXCEPTION 'a refresh token is used once' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION guard_refresh_token();

CREATE FUNCTION guard_approval() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'waiting' THEN
        RAISE EXCEPTION 'approval % is already %', OLD.id, OLD.state USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.id, NEW.what, NEW.body, NEW.body_hash, NEW.requested_by, NEW.requested_at, NEW.expires_at)
       IS DISTINCT FROM
       (OLD.id, OLD.what, OLD.body, OLD.body_hash, OLD.requested_by, OLD.requested_at, OLD.expires_at) THEN
        RAISE EXCEPTION 'what approval % is asked for does not change', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON approvals FOR EACH ROW EXECUTE FUNCTION guard_approval();

GRANT SELECT, INSERT ON sessions, refresh_tokens, revoked_tokens, login_tries, pending_logins, factors,
    recovery_codes, webauthn_challenges, approvals TO nexus_api;
GRANT UPDATE (refreshed_at, proven_at, proven_by, ended_at, end_cause) ON sessions TO nexus_api;
GRANT UPDATE (used_at) ON refresh_tokens, recovery_codes TO nexus_api;
GRANT UPDATE ON login_tries TO nexus_api;
GRANT UPDATE (secret, last_step, sign_count, confirmed_at, used_at) ON factors TO nexus_api;
GRANT UPDATE (state, decided_by, decided_at, reason) ON approvals TO nexus_api;
GRANT DELETE ON revoked_tokens, login_tries, pending_logins, factors, recovery_codes, webauthn_challenges
    TO nexus_api;
GRANT UPDATE (password_hash, updated_at) ON users TO nexus_api;
