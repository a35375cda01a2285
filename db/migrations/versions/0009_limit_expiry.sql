-- A loosening stands beside the base value until it expires; neither has a second row in force.

DROP INDEX uq_risk_limits_in_force;
CREATE UNIQUE INDEX uq_risk_limits_base ON risk_limits (account_id, user_id, name) NULLS NOT DISTINCT
    WHERE superseded_at IS NULL AND expires_at IS NULL;
CREATE UNIQUE INDEX uq_risk_limits_loosened ON risk_limits (account_id, user_id, name) NULLS NOT DISTINCT
    WHERE superseded_at IS NULL AND expires_at IS NOT NULL;

-- The API sets limits; what a row says stays as it was written, but for the end of its time in force.
GRANT INSERT, UPDATE (superseded_at) ON risk_limits TO nexus_api;
