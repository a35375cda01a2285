"""The books of a rehearsal: a scratch database whose clock is the rehearsal's.

Functions named `now` and `clock_timestamp` stand before PostgreSQL's own on the search path and answer with the
transaction's `chaos.now`. They are there before the migrations, so that column defaults are bound to them, too.
"""

SEARCH_PATH = "public, chaos_clock, pg_catalog"

CLOCK = (
    "CREATE SCHEMA chaos_clock",
    "GRANT USAGE ON SCHEMA chaos_clock TO PUBLIC",
    """
    CREATE FUNCTION chaos_clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT coalesce(nullif(current_setting('chaos.now', true), '')::timestamptz, pg_catalog.now())
    $$
    """,
    """
    CREATE FUNCTION chaos_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
        SELECT coalesce(nullif(current_setting('chaos.now', true), '')::timestamptz, pg_catalog.clock_timestamp())
    $$
    """,
    f"ALTER DATABASE nexus_template SET search_path = {SEARCH_PATH}",
)
