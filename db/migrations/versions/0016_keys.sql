-- API keys and the nonces of what was signed with them, and the counts of the rate limits.

-- A program's key; its secret is sealed, since a signature can only be checked with the secret itself.
CREATE TABLE api_keys (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    name TEXT NOT NULL,
    secret BYTEA NOT NULL,
    scopes TEXT[] NOT NULL,
    networks CIDR[] NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    last_address TEXT,
    replaces UUID,
    replaced_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT ck_api_keys_scopes CHECK (scopes <> '{}' AND scopes <@ ARRAY['read', 'trade', 'cancel', 'admin']),
    CONSTRAINT ck_api_keys_last_used CHECK ((last_used_at IS NULL) = (last_address IS NULL)),
    CONSTRAINT fk_api_keys_user_id_users FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_api_keys_replaces UNIQUE (replaces),
    CONSTRAINT fk_api_keys_replaces_api_keys FOREIGN KEY(replaces) REFERENCES api_keys (id)
);
-- By its name a repeated request finds the key that the first one made.
CREATE UNIQUE INDEX ux_api_keys_name ON api_keys (user_id, name) WHERE revoked_at IS NULL AND replaced_at IS NULL;

-- What was signed once is not taken again; kept for longer than any signature is good for.
CREATE TABLE api_key_nonces (
    key_id UUID NOT NULL,
    nonce TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_api_key_nonces PRIMARY KEY (key_id, nonce),
    CONSTRAINT fk_api_key_nonces_key_id_api_keys FOREIGN KEY(key_id) REFERENCES api_keys (id)
);
CREATE INDEX ix_api_key_nonces_expires_at ON api_key_nonces (expires_at);

CREATE FUNCTION guard_api_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
        RAISE EXCEPTION 'API key % is revoked', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.id, NEW.user_id, NEW.name, NEW.scopes, NEW.networks, NEW.created_at, NEW.replaces)
       IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.name, OLD.scopes, OLD.networks, OLD.created_at, OLD.replaces)
       OR NEW.expires_at > OLD.expires_at THEN
        RAISE EXCEPTION 'what API key % opens does not change', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON api_keys FOR EACH ROW EXECUTE FUNCTION guard_api_key();

-- Whether a token or a signature still lets its bearer in. Every request asks, in the statement that reads its user.
DROP FUNCTION lets_in(uuid, uuid, text);
CREATE FUNCTION lets_in(bearer uuid, bearer_session uuid, token text, bearer_key uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN bearer_key IS NULL THEN
        NOT EXISTS (SELECT FROM revoked_tokens r WHERE r.token_hash = token)
        AND EXISTS (
            SELECT FROM sessions s
            WHERE s.id = bearer_session AND s.user_id = bearer AND s.ended_at IS NULL
              AND s.expires_at > clock_timestamp())
    ELSE EXISTS (
        SELECT FROM api_keys k
        WHERE k.id = bearer_key AND k.user_id = bearer AND k.revoked_at IS NULL AND k.expires_at > clock_timestamp())
    END
$$;

-- How often something was asked for in its window. Unlogged: after a crash everybody begins anew, and until then no
-- count waits for a disk.
CREATE UNLOGGED TABLE rate_counts (
    key TEXT NOT NULL,
    count BIGINT NOT NULL,
    resets_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_rate_counts PRIMARY KEY (key)
);
CREATE INDEX ix_rate_counts_resets_at ON rate_counts (resets_at);

GRANT SELECT, INSERT ON api_keys, api_key_nonces, rate_counts TO nexus_api;
GRANT UPDATE (secret, expires_at, last_used_at, last_address, replaced_at, revoked_at) ON api_keys TO nexus_api;
GRANT UPDATE ON rate_counts TO nexus_api;
-- Locking what is about to be removed takes the right to change it.
GRANT UPDATE (expires_at) ON api_key_nonces TO nexus_api;
GRANT DELETE ON api_key_nonces, rate_counts TO nexus_api;
