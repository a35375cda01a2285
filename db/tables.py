"""The books as SQLAlchemy tables: the shape that queries are written against.

The migrations in `db/migrations` make the real ones and add what SQLAlchemy has no words for (triggers, grants,
the magic sequence); a test holds the two together. Money and volumes are unconstrained NUMERIC, times TIMESTAMPTZ.
"""

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, CIDR, JSONB, UUID

from domain.attempts import AttemptOutcome
from domain.commands import CommandEnd
from domain.controls import ControlScope, ControlState
from domain.discrepancies import Decision, DiscrepancyState
from domain.fills import Entry, FillKind, FillSource
from domain.limits import LimitName, LimitUnit
from domain.orders import OrderState, OrderType, Side, TimeInForce
from domain.positions import MarginMode
from domain.reconciliation import DifferenceKind, RunCause, Tier, Verdict
from domain.reservations import ReservationState
from domain.stops import StopCause
from domain.watch import CONDITIONS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

MONEY = Numeric(asdecimal=True)
INSTANT = DateTime(timezone=True)


def one_of(column: str, values: type[StrEnum] | Iterable[str]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def created_at() -> Column[object]:
    return Column("created_at", INSTANT, nullable=False, server_default=text("now()"))


def updated_at() -> Column[object]:
    return Column("updated_at", INSTANT, nullable=False, server_default=text("now()"))


users = Table(
    "users",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("username", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    created_at(),
    updated_at(),
    CheckConstraint("role IN ('viewer', 'trader', 'risk', 'admin')", name="role"),
    CheckConstraint("username ~ '^[a-z0-9][a-z0-9._-]{1,62}$'", name="username"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("began_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("refreshed_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", INSTANT, nullable=False),
    Column("proven_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("proven_by", Text, nullable=False),
    Column("ended_at", INSTANT),
    Column("end_cause", Text),
    CheckConstraint("proven_by IN ('password', 'totp', 'webauthn', 'recovery')", name="proven_by"),
    CheckConstraint(
        "end_cause IN ('logout', 'ended', 'reuse', 'password', 'factors', 'disabled')", name="end_cause"
    ),
    CheckConstraint("(ended_at IS NULL) = (end_cause IS NULL)", name="ended_at"),
)
Index("ix_sessions_live", sessions.c.user_id, postgresql_where=text("ended_at IS NULL"))
Index("ix_sessions_from", sessions.c.user_id, sessions.c.address)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("session_id", UUID, ForeignKey("sessions.id"), nullable=False),
    Column("parent_hash", Text, ForeignKey("refresh_tokens.token_hash"), unique=True),
    Column("issued_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", INSTANT, nullable=False),
    Column("used_at", INSTANT),
)
Index("ix_refresh_tokens_session", refresh_tokens.c.session_id)

# By the SHA-256 of the token's id.
revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("revoked_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", INSTANT, nullable=False),
)
Index("ix_revoked_tokens_expires_at", revoked_tokens.c.expires_at)

# One row per name and per address that somebody tried to log in by; `admitted` is what the newest try was told.
login_tries = Table(
    "login_tries",
    metadata,
    Column("key", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("tried_at", INSTANT, nullable=False),
    Column("open_at", INSTANT, nullable=False),
    Column("admitted", Boolean, nullable=False),
    Column("refused_count", BigInteger, nullable=False, server_default=text("0")),
)
Index("ix_login_tries_tried_at", login_tries.c.tried_at)

# Logins whose password was right and whose second factor is awaited.
pending_logins = Table(
    "pending_logins",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("expires_at", INSTANT, nullable=False),
)

factors = Table(
    "factors",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("secret", LargeBinary),
    Column("last_step", BigInteger),
    Column("credential_id", LargeBinary, unique=True),
    Column("public_key", LargeBinary),
    Column("sign_count", BigInteger),
    Column("added_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("confirmed_at", INSTANT),
    Column("used_at", INSTANT),
    CheckConstraint("kind IN ('totp', 'webauthn')", name="kind"),
    CheckConstraint("(kind = 'totp') = (secret IS NOT NULL)", name="secret"),
    CheckConstraint(
        "(kind = 'webauthn') = (credential_id IS NOT NULL AND public_key IS NOT NULL AND sign_count IS NOT NULL)",
        name="credential",
    ),
)
Index("ix_factors_user_id", factors.c.user_id)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("code_hash", Text, primary_key=True),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("made_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("used_at", INSTANT),
)
Index("ix_recovery_codes_user_id", recovery_codes.c.user_id)

# Given to a browser to sign, and taken back once.
webauthn_challenges = Table(
    "webauthn_challenges",
    metadata,
    Column("challenge", Text, primary_key=True),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("expires_at", INSTANT, nullable=False),
    CheckConstraint("purpose IN ('enrol', 'prove')", name="purpose"),
)

# What waits for a second person, with the request as it was made.
approvals = Table(
    "approvals",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("what", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("body_hash", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("requested_by", UUID, ForeignKey("users.id"), nullable=False),
    Column("requested_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", INSTANT, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("decided_by", UUID, ForeignKey("users.id")),
    Column("decided_at", INSTANT),
    Column("reason", Text),
    CheckConstraint("what IN ('resume', 'limit')", name="what"),
    CheckConstraint("state IN ('waiting', 'approved', 'refused')", name="state"),
    CheckConstraint("(state = 'waiting') = (decided_by IS NULL)", name="decided"),
    CheckConstraint("(decided_by IS NULL) = (decided_at IS NULL)", name="decided_at"),
    CheckConstraint("decided_by <> requested_by", name="second_person"),
)
Index("ix_approvals_requested_at", approvals.c.requested_at)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("networks", ARRAY(CIDR), nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", INSTANT, nullable=False),
    Column("last_used_at", INSTANT),
    Column("last_address", Text),
    Column("replaces", UUID, ForeignKey("api_keys.id"), unique=True),
    Column("replaced_at", INSTANT),
    Column("revoked_at", INSTANT),
    CheckConstraint(
        "scopes <> '{}' AND scopes <@ ARRAY['read', 'trade', 'cancel', 'admin']",
        name="scopes",
    ),
    CheckConstraint("(last_used_at IS NULL) = (last_address IS NULL)", name="last_used"),
)
Index(
    "ux_api_keys_name",
    api_keys.c.user_id,
    api_keys.c.name,
    unique=True,
    postgresql_where=text("revoked_at IS NULL AND replaced_at IS NULL"),
)

api_key_nonces = Table(
    "api_key_nonces",
    metadata,
    Column("key_id", UUID, ForeignKey("api_keys.id"), primary_key=True),
    Column("nonce", Text, primary_key=True),
    Column("expires_at", INSTANT, nullable=False),
)
Index("ix_api_key_nonces_expires_at", api_key_nonces.c.expires_at)

rate_counts = Table(
    "rate_counts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("resets_at", INSTANT, nullable=False),
    prefixes=["UNLOGGED"],
)
Index("ix_rate_counts_resets_at", rate_counts.c.resets_at)

broker_accounts = Table(
    "broker_accounts",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("slug", Text, nullable=False, unique=True),
    Column("currency", Text, nullable=False),
    Column("margin_mode", Text, nullable=False),
    Column("leverage", Integer, nullable=False),
    Column("login", BigInteger, nullable=False),
    Column("server", Text, nullable=False),
    Column("day_zone", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("lease_number", BigInteger, nullable=False, server_default=text("0")),
    Column("lease_holder", Text),
    Column("lease_terminal", Text),
    Column("lease_taken_at", INSTANT),
    Column("lease_expires_at", INSTANT),
    Column("unreconciled_since", INSTANT),
    created_at(),
    updated_at(),
    one_of("margin_mode", MarginMode),
    CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{0,30}$'", name="slug"),
    UniqueConstraint("id", "margin_mode"),
)

account_users = Table(
    "account_users",
    metadata,
    Column("account_id", UUID, nullable=False),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("margin_mode", Text, nullable=False),
    created_at(),
    PrimaryKeyConstraint("account_id", "user_id"),
    ForeignKeyConstraint(["account_id", "margin_mode"], ["broker_accounts.id", "broker_accounts.margin_mode"]),
)
# On a netting account fills of several users merge into one position, so it has exactly one trading user.
Index(
    "uq_account_users_netting",
    account_users.c.account_id,
    unique=True,
    postgresql_where=text("margin_mode <> 'hedging'"),
)

instruments = Table(
    "instruments",
    metadata,
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("currency_base", Text, nullable=False),
    Column("currency_profit", Text, nullable=False),
    Column("currency_margin", Text, nullable=False),
    Column("digits", Integer, nullable=False),
    Column("point", MONEY, nullable=False),
    Column("tick_size", MONEY, nullable=False),
    Column("tick_value", MONEY, nullable=False),
    Column("contract_size", MONEY, nullable=False),
    Column("volume_min", MONEY, nullable=False),
    Column("volume_max", MONEY, nullable=False),
    Column("volume_step", MONEY, nullable=False),
    Column("stops_level_points", Integer, nullable=False),
    Column("freeze_level_points", Integer, nullable=False),
    Column("trade_mode", Text, nullable=False),
    Column("execution", Text, nullable=False),
    Column("fillings", ARRAY(Text), nullable=False),
    Column("order_types", ARRAY(Text), nullable=False),
    Column("close_by", Boolean, nullable=False, server_default=text("false")),
    Column("allowed", Boolean, nullable=False, server_default=text("true")),
    Column("read_at", INSTANT, nullable=False),
    Column("listed", Boolean, nullable=False, server_default=text("true")),
    Column("slippage_points_max", MONEY),
    PrimaryKeyConstraint("account_id", "symbol"),
)

# What keeps an account from trading as the feed last saw it; a row ends with the condition, its history stays in
# the audit log.
account_conditions = Table(
    "account_conditions",
    metadata,
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("alert_key", Text, nullable=False),
    Column("began_at", INSTANT, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("account_id", "kind"),
    one_of("kind", CONDITIONS),
)

# What an order in a symbol means now, where nobody has accepted yet that it means something else than before.
contract_changes = Table(
    "contract_changes",
    metadata,
    Column("account_id", UUID, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("term", Text, nullable=False),
    Column("was", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("alert_key", Text, nullable=False),
    Column("noticed_at", INSTANT, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("account_id", "symbol", "term"),
    ForeignKeyConstraint(["account_id", "symbol"], ["instruments.account_id", "instruments.symbol"]),
)

quotes = Table(
    "quotes",
    metadata,
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("bid", MONEY, nullable=False),
    Column("ask", MONEY, nullable=False),
    Column("at", INSTANT, nullable=False),
    Column("read_at", INSTANT, nullable=False),
    PrimaryKeyConstraint("account_id", "symbol"),
)

# One row a minute: the newest is the account as it is, the older ones are its equity curve.
account_snapshots = Table(
    "account_snapshots",
    metadata,
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("minute_at", INSTANT, nullable=False),
    Column("read_at", INSTANT, nullable=False),
    Column("balance", MONEY, nullable=False),
    Column("credit", MONEY, nullable=False),
    Column("equity", MONEY, nullable=False),
    Column("margin", MONEY, nullable=False),
    Column("margin_free", MONEY, nullable=False),
    Column("leverage", Integer, nullable=False),
    Column("connected", Boolean, nullable=False),
    Column("trade_allowed", Boolean, nullable=False),
    PrimaryKeyConstraint("account_id", "minute_at"),
)

broker_positions = Table(
    "broker_positions",
    metadata,
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("position_id", BigInteger, nullable=False),
    Column("ticket", BigInteger, nullable=False),
    Column("magic", BigInteger, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("volume", MONEY, nullable=False),
    Column("price_open", MONEY, nullable=False),
    Column("price_current", MONEY, nullable=False),
    Column("stop_loss", MONEY),
    Column("take_profit", MONEY),
    Column("swap", MONEY, nullable=False),
    Column("profit", MONEY, nullable=False),
    Column("opened_at", INSTANT, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
    Column("read_at", INSTANT, nullable=False),
    PrimaryKeyConstraint("account_id", "position_id"),
    one_of("side", Side),
)

# The price of each open position where its day began, from which the day's loss counts.
position_marks = Table(
    "position_marks",
    metadata,
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("day", Date, nullable=False),
    Column("position_id", BigInteger, nullable=False),
    Column("price", MONEY, nullable=False),
    Column("marked_at", INSTANT, nullable=False),
    PrimaryKeyConstraint("account_id", "day", "position_id"),
)

risk_limits = Table(
    "risk_limits",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("user_id", UUID, ForeignKey("users.id")),
    Column("value", MONEY, nullable=False),
    Column("unit", Text, nullable=False),
    Column("currency", Text),
    Column("set_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    created_at(),
    Column("expires_at", INSTANT),
    Column("superseded_at", INSTANT),
    one_of("name", LimitName),
    CheckConstraint("value >= 0", name="value"),
    one_of("unit", LimitUnit),
    CheckConstraint("(unit = 'money') = (currency IS NOT NULL)", name="currency"),
)
# One base value in force, and one loosening that stands in for it until it expires.
for _index, _rows in (("base", "expires_at IS NULL"), ("loosened", "expires_at IS NOT NULL")):
    Index(
        f"uq_risk_limits_{_index}",
        risk_limits.c.account_id,
        risk_limits.c.user_id,
        risk_limits.c.name,
        unique=True,
        postgresql_where=text(f"superseded_at IS NULL AND {_rows}"),
        postgresql_nulls_not_distinct=True,
    )

trading_control = Table(
    "trading_control",
    metadata,
    Column("scope", Text, nullable=False),
    Column("scope_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("stop_id", UUID, ForeignKey("emergency_stops.id")),
    PrimaryKeyConstraint("scope", "scope_id"),
    one_of("scope", ControlScope),
    one_of("state", ControlState),
    CheckConstraint("(scope = 'all') = (scope_id = '')", name="scope_id"),
)

emergency_stops = Table(
    "emergency_stops",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("scope_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("cancel_orders", Boolean, nullable=False),
    Column("flatten", Boolean, nullable=False),
    Column("include_external", Boolean, nullable=False),
    Column("cause", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("resume_role", Text, nullable=False),
    Column("requested_at", INSTANT, nullable=False),
    Column("latched_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("in_force_at", INSTANT),
    Column("flat_at", INSTANT),
    Column("ended_at", INSTANT),
    Column("resumed_at", INSTANT),
    Column("certificate", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    one_of("scope", ControlScope),
    CheckConstraint("mode IN ('reduce_only', 'halted')", name="mode"),
    one_of("cause", StopCause),
    CheckConstraint("resume_role IN ('risk', 'admin')", name="resume_role"),
    CheckConstraint("(scope = 'all') = (scope_id = '')", name="scope_id"),
)
Index("ix_emergency_stops_open", emergency_stops.c.latched_at, postgresql_where=text("ended_at IS NULL"))

trade_ledger = Table(
    "trade_ledger",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("client_order_id", Text, nullable=False),
    Column("body_hash", Text, nullable=False),
    Column("workflow_id", Text, nullable=False, unique=True),
    Column("magic", BigInteger, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("volume", MONEY, nullable=False),
    Column("time_in_force", Text, nullable=False),
    Column("price", MONEY),
    Column("stop_limit_price", MONEY),
    Column("stop_loss", MONEY),
    Column("take_profit", MONEY),
    Column("expires_at", INSTANT),
    Column("max_slippage_points", Integer),
    Column("position_id", BigInteger),
    Column("close_by_position_id", BigInteger),
    Column("allow_duplicate", Boolean, nullable=False, server_default=text("false")),
    Column("stop_id", UUID, ForeignKey("emergency_stops.id")),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("reason", Text),
    Column("denials", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("evidence", JSONB),
    Column("needs_attention", Boolean, nullable=False, server_default=text("false")),
    Column("broker_order_id", BigInteger),
    Column("filled_volume", MONEY, nullable=False, server_default=text("0")),
    Column("average_price", MONEY),
    Column("expected_price", MONEY),
    Column("slippage_points", MONEY),
    Column("slippage_money", MONEY),
    Column("slippage_price_percent", MONEY),
    Column("slippage_stop_percent", MONEY),
    Column("received_at", INSTANT, nullable=False),
    Column("submit_by", INSTANT, nullable=False),
    Column("accepted_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("submitted_at", INSTANT),
    Column("decided_at", INSTANT),
    Column("closed_at", INSTANT),
    updated_at(),
    UniqueConstraint("user_id", "client_order_id"),
    UniqueConstraint("account_id", "magic"),
    one_of("state", OrderState),
    one_of("side", Side),
    one_of("order_type", OrderType),
    one_of("time_in_force", TimeInForce),
    CheckConstraint(
        "close_by_position_id IS NULL OR (position_id IS NOT NULL AND position_id <> close_by_position_id)",
        name="close_by",
    ),
    CheckConstraint("volume > 0", name="volume"),
    CheckConstraint("filled_volume >= 0", name="filled_volume"),
    CheckConstraint("submit_by >= received_at", name="submit_by"),
)
Index(
    "ix_trade_ledger_user_received", trade_ledger.c.user_id, trade_ledger.c.received_at.desc(), trade_ledger.c.id
)
Index("ix_trade_ledger_stop", trade_ledger.c.stop_id, postgresql_where=text("stop_id IS NOT NULL"))
Index("ix_trade_ledger_closed", trade_ledger.c.account_id, trade_ledger.c.closed_at)
Index("ix_trade_ledger_account_received", trade_ledger.c.account_id, trade_ledger.c.received_at)
Index("ix_trade_ledger_received", trade_ledger.c.received_at.desc(), trade_ledger.c.id.desc())
Index(
    "ix_trade_ledger_attention",
    trade_ledger.c.account_id,
    postgresql_where=text("needs_attention"),
)
Index(
    "ix_trade_ledger_open",
    trade_ledger.c.account_id,
    postgresql_where=text("closed_at IS NULL"),
)
Index(
    "uq_trade_ledger_broker_order",
    trade_ledger.c.account_id,
    trade_ledger.c.broker_order_id,
    unique=True,
    postgresql_where=text("broker_order_id IS NOT NULL"),
)

send_attempts = Table(
    "send_attempts",
    metadata,
    Column("trade_id", UUID, ForeignKey("trade_ledger.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("magic", BigInteger, nullable=False),
    Column("lease_number", BigInteger, nullable=False),
    Column("claimed_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("outcome", Text),
    Column("outcome_at", INSTANT),
    Column("reason", Text),
    Column("retcode", Integer),
    Column("broker_order_id", BigInteger),
    Column("sender_ended_at", INSTANT),
    Column("request", JSONB(none_as_null=True)),
    Column("answer", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("trade_id", "number"),
    UniqueConstraint("account_id", "magic", "number"),
    CheckConstraint("number > 0", name="number"),
    one_of("outcome", AttemptOutcome),
    CheckConstraint("(outcome IS NULL) = (outcome_at IS NULL)", name="outcome_at"),
)
Index(
    "ix_send_attempts_open",
    send_attempts.c.trade_id,
    postgresql_where=text("outcome IS NULL OR outcome = 'unresolved'"),
)

trade_commands = Table(
    "trade_commands",
    metadata,
    Column("trade_id", UUID, ForeignKey("trade_ledger.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body_hash", Text, nullable=False),
    Column("requested_by", UUID, ForeignKey("users.id"), nullable=False),
    Column("requested_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("sent_at", INSTANT),
    Column("outcome", Text),
    Column("reason", Text),
    Column("outcome_at", INSTANT),
    PrimaryKeyConstraint("trade_id", "key"),
    CheckConstraint("kind IN ('cancel', 'modify', 'resolve')", name="kind"),
    one_of("outcome", CommandEnd),
)

Index(
    "ix_trade_commands_in_flight",
    trade_commands.c.trade_id,
    postgresql_where=text("sent_at IS NOT NULL AND outcome IS NULL"),
)

fills = Table(
    "fills",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("ticket", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("trade_id", UUID, ForeignKey("trade_ledger.id")),
    Column("broker_order_id", BigInteger, nullable=False),
    Column("position_id", BigInteger, nullable=False),
    Column("magic", BigInteger, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("entry", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("volume", MONEY, nullable=False),
    Column("price", MONEY, nullable=False),
    Column("commission", MONEY, nullable=False),
    Column("swap", MONEY, nullable=False),
    Column("fee", MONEY, nullable=False),
    Column("profit", MONEY, nullable=False),
    Column("currency", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("executed_at", INSTANT, nullable=False),
    Column("booked_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("source", Text, nullable=False),
    UniqueConstraint("account_id", "ticket", "revision"),
    one_of("kind", FillKind),
    one_of("entry", Entry),
    CheckConstraint("side IN ('buy', 'sell', '')", name="side"),
    one_of("source", FillSource),
    CheckConstraint("volume >= 0", name="volume"),
    CheckConstraint("revision > 0", name="revision"),
)
Index("ix_fills_position", fills.c.account_id, fills.c.position_id)
Index("ix_fills_trade", fills.c.trade_id)
Index("ix_fills_account_booked", fills.c.account_id, fills.c.booked_at)
Index("ix_fills_executed", fills.c.account_id, fills.c.executed_at)

fill_allocations = Table(
    "fill_allocations",
    metadata,
    Column("fill_id", BigInteger, ForeignKey("fills.id"), nullable=False),
    Column("line", Integer, nullable=False),
    Column("trade_id", UUID, ForeignKey("trade_ledger.id")),
    Column("owner", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("volume", MONEY, nullable=False),
    Column("profit", MONEY, nullable=False),
    Column("commission", MONEY, nullable=False),
    Column("swap", MONEY, nullable=False),
    Column("fee", MONEY, nullable=False),
    PrimaryKeyConstraint("fill_id", "line"),
    CheckConstraint("owner IN ('trade', 'external')", name="owner"),
    CheckConstraint("(owner = 'trade') = (trade_id IS NOT NULL)", name="trade_id"),
    CheckConstraint("role IN ('open', 'close', 'money')", name="role"),
)
Index("ix_fill_allocations_trade", fill_allocations.c.trade_id)

exposure_totals = Table(
    "exposure_totals",
    metadata,
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("held_loss", MONEY, nullable=False, server_default=text("0")),
    Column("held_notional", MONEY, nullable=False, server_default=text("0")),
    Column("held_margin", MONEY, nullable=False, server_default=text("0")),
    Column("loss_room", MONEY),
    Column("notional_room", MONEY),
    Column("margin_room", MONEY),
    updated_at(),
    PrimaryKeyConstraint("account_id", "user_id"),
    CheckConstraint("held_loss >= 0 AND held_notional >= 0 AND held_margin >= 0", name="held"),
    CheckConstraint("loss_room IS NULL OR held_loss <= loss_room", name="loss_room"),
    CheckConstraint("notional_room IS NULL OR held_notional <= notional_room", name="notional_room"),
    CheckConstraint("margin_room IS NULL OR held_margin <= margin_room", name="margin_room"),
)

risk_reservations = Table(
    "risk_reservations",
    metadata,
    Column("trade_id", UUID, ForeignKey("trade_ledger.id"), primary_key=True),
    Column("account_id", UUID, nullable=False),
    Column("user_id", UUID, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("position_id", BigInteger),
    Column("close_by_position_id", BigInteger),
    Column("state", Text, nullable=False),
    Column("counted", Boolean, nullable=False, server_default=text("true")),
    Column("currency", Text, nullable=False),
    Column("volume", MONEY, nullable=False),
    Column("loss", MONEY, nullable=False),
    Column("notional", MONEY, nullable=False),
    Column("margin", MONEY, nullable=False),
    Column("reference_price", MONEY, nullable=False),
    Column("collar_points", Integer, nullable=False),
    Column("rates", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("contract", JSONB),
    Column("recovered", Boolean, nullable=False, server_default=text("false")),
    Column("held_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("resolved_at", INSTANT),
    ForeignKeyConstraint(["account_id", "user_id"], ["exposure_totals.account_id", "exposure_totals.user_id"]),
    one_of("state", ReservationState),
    CheckConstraint("(state = 'held') = (resolved_at IS NULL)", name="resolved_at"),
    CheckConstraint("volume >= 0 AND loss >= 0 AND notional >= 0 AND margin >= 0", name="amounts"),
    # A settled reservation counts until an account snapshot shows the position that it became.
    CheckConstraint("counted OR state <> 'held'", name="counted"),
)
Index(
    "ix_risk_reservations_counted",
    risk_reservations.c.account_id,
    risk_reservations.c.user_id,
    postgresql_where=text("counted"),
)

risk_adjustments = Table(
    "risk_adjustments",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("trade_id", UUID, ForeignKey("risk_reservations.trade_id"), nullable=False),
    Column("cause", Text, nullable=False),
    Column("fill_id", BigInteger, ForeignKey("fills.id")),
    Column("volume", MONEY, nullable=False),
    Column("loss", MONEY, nullable=False),
    Column("notional", MONEY, nullable=False),
    Column("margin", MONEY, nullable=False),
    created_at(),
    CheckConstraint("cause IN ('held', 'filled', 'settled', 'released', 'expired', 'snapshot')", name="cause"),
)
Index("ix_risk_adjustments_trade", risk_adjustments.c.trade_id)

user_daily_stats = Table(
    "user_daily_stats",
    metadata,
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("user_id", UUID, ForeignKey("users.id"), nullable=False),
    Column("day", Date, nullable=False),
    Column("currency", Text, nullable=False),
    Column("profit", MONEY, nullable=False, server_default=text("0")),
    Column("commission", MONEY, nullable=False, server_default=text("0")),
    Column("swap", MONEY, nullable=False, server_default=text("0")),
    Column("fee", MONEY, nullable=False, server_default=text("0")),
    Column("fill_count", Integer, nullable=False, server_default=text("0")),
    updated_at(),
    PrimaryKeyConstraint("account_id", "user_id", "day"),
)

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("user_id", UUID, ForeignKey("users.id")),
    Column("code", Text, nullable=False),
    Column("currency", Text, nullable=False),
    created_at(),
    UniqueConstraint("account_id", "user_id", "code", "currency", postgresql_nulls_not_distinct=True),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("event_id", UUID, nullable=False),
    Column("line", Integer, nullable=False),
    Column("ledger_account_id", BigInteger, ForeignKey("ledger_accounts.id"), nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("fill_id", BigInteger, ForeignKey("fills.id")),
    Column("trade_id", UUID, ForeignKey("trade_ledger.id")),
    Column("reverses_event_id", UUID),
    Column("description", Text, nullable=False),
    Column("posted_at", INSTANT, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("event_id", "line"),
    CheckConstraint("amount <> 0", name="amount"),
)
Index("ix_ledger_entries_account", ledger_entries.c.ledger_account_id)
Index("ix_ledger_entries_trade", ledger_entries.c.trade_id)
Index("ix_ledger_entries_posted", ledger_entries.c.posted_at, ledger_entries.c.event_id)

# `xact` orders rows for readers: all rows of transactions below the oldest running one are final, so a stream
# that reads by (xact, id) up to there sees every row once and never skips one that commits late.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("xact", BigInteger, nullable=False, server_default=text("(pg_current_xact_id()::text)::bigint")),
    Column("at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("kind", Text, nullable=False),
    Column("account_id", UUID),
    Column("user_id", UUID),
    Column("trade_id", UUID),
    Column("payload", JSONB, nullable=False),
)
Index("ix_events_xact", events.c.xact, events.c.id)
Index("ix_events_trade", events.c.trade_id, events.c.id)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("xact", BigInteger, nullable=False, server_default=text("(pg_current_xact_id()::text)::bigint")),
    Column("at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    Column("address", Text),
    Column("request_id", Text),
    Column("trace_id", Text),
    Column("key_id", Text),
    Column("process", Text, server_default=text("current_setting('application_name')")),
    Column("role", Text, server_default=text("SESSION_USER")),
    Column("version", Text, server_default=text("current_setting('nexus.version', true)")),
    CheckConstraint("xact > 0", name="xact"),
)
Index("ix_audit_log_subject", audit_log.c.subject, audit_log.c.id)
Index("ix_audit_log_xact", audit_log.c.xact, audit_log.c.id)
Index(
    "ix_audit_log_request",
    audit_log.c.request_id,
    audit_log.c.id,
    postgresql_where=audit_log.c.request_id.is_not(None),
)

audit_chain = Table(
    "audit_chain",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("audit_id", BigInteger, ForeignKey("audit_log.id"), nullable=False, unique=True),
    Column("hash", LargeBinary, nullable=False),
    CheckConstraint("seq > 0", name="seq"),
    CheckConstraint("octet_length(hash) = 32", name="hash"),
)

audit_sealing = Table(
    "audit_sealing",
    metadata,
    Column("id", Boolean, primary_key=True, server_default=text("true")),
    CheckConstraint("id", name="one"),
)

audit_seals = Table(
    "audit_seals",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger, nullable=False, unique=True),
    Column("last_seq", BigInteger, nullable=False),
    Column("horizon", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("sealed_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    CheckConstraint("number > 0 AND first_seq > 0 AND last_seq >= first_seq", name="place"),
    CheckConstraint(
        "octet_length(root) = 32 AND octet_length(head) = 32 AND octet_length(digest) = 32", name="hashes"
    ),
)

audit_anchors = Table(
    "audit_anchors",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("seal_number", BigInteger, ForeignKey("audit_seals.number"), nullable=False),
    Column("line", Text, nullable=False),
    Column("places", ARRAY(Text), nullable=False),
    Column("anchored_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
)
Index("ix_audit_anchors_seal_number", audit_anchors.c.seal_number)

audit_faults = Table(
    "audit_faults",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("seal_number", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Column("found_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("accepted_at", INSTANT),
    Column("accepted_by", Text),
    Column("reason", Text),
    UniqueConstraint("kind", "seal_number", "seq", name="uq_audit_faults_place"),
    CheckConstraint("(accepted_at IS NULL) = (accepted_by IS NULL)", name="accepted"),
    CheckConstraint("(accepted_at IS NULL) = (reason IS NULL)", name="reason"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("severity", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("account_id", UUID),
    Column("trade_id", UUID),
    Column("summary", Text, nullable=False),
    Column("raised_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("acknowledged_at", INSTANT),
    Column("acknowledged_by", Text),
    Column("cleared_at", INSTANT),
    CheckConstraint("severity IN ('info', 'warning', 'critical')", name="severity"),
)
Index("ix_alerts_account_kind", alerts.c.account_id, alerts.c.kind, alerts.c.raised_at)

reconciliation_log = Table(
    "reconciliation_log",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("cause", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text),
    Column("began_at", INSTANT, nullable=False),
    Column("read_at", INSTANT),
    Column("ended_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("watermark", BigInteger, nullable=False),
    Column("counts", JSONB, nullable=False),
    Column("totals", JSONB, nullable=False),
    Column("explained", JSONB, nullable=False),
    Column("report", JSONB),
    one_of("cause", RunCause),
    one_of("verdict", Verdict),
)
Index("ix_reconciliation_log_account", reconciliation_log.c.account_id, reconciliation_log.c.ended_at.desc())

discrepancies = Table(
    "discrepancies",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("number", BigInteger),
    Column("state", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("ours", MONEY),
    Column("theirs", MONEY),
    Column("impact_usd", MONEY),
    Column("evidence", JSONB, nullable=False),
    Column("first_run_id", UUID, nullable=False),
    Column("last_run_id", UUID, nullable=False),
    Column("run_count", Integer, nullable=False, server_default=text("1")),
    Column("found_at", INSTANT, nullable=False),
    Column("seen_at", INSTANT, nullable=False),
    Column("decision", Text),
    Column("decided_by", Text),
    Column("reason", Text),
    Column("ended_at", INSTANT),
    Column("event_id", UUID),
    Column("cause", Text),
    Column("cause_ticket", BigInteger),
    created_at(),
    updated_at(),
    one_of("kind", DifferenceKind),
    one_of("state", DiscrepancyState),
    one_of("tier", Tier),
    one_of("decision", Decision),
    CheckConstraint("run_count > 0", name="run_count"),
)
Index(
    "ix_discrepancies_waiting",
    discrepancies.c.account_id,
    discrepancies.c.kind,
    discrepancies.c.subject,
    unique=True,
    postgresql_where=text("state IN ('kept_out', 'open', 'disputed')"),
)
Index("ix_discrepancies_found", discrepancies.c.found_at.desc(), discrepancies.c.id.desc())
Index(
    "ix_discrepancies_corrected",
    discrepancies.c.account_id,
    discrepancies.c.ended_at,
    postgresql_where=text("state IN ('corrected', 'accepted', 'adopted')"),
)

position_adjustments = Table(
    "position_adjustments",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("account_id", UUID, ForeignKey("broker_accounts.id"), nullable=False),
    Column("position_id", BigInteger, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("lots", MONEY, nullable=False),
    Column("price", MONEY),
    Column("discrepancy_id", UUID, ForeignKey("discrepancies.id")),
    Column("made_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    CheckConstraint("lots <> 0", name="lots"),
)
Index("ix_position_adjustments_position", position_adjustments.c.account_id, position_adjustments.c.position_id)

APPEND_ONLY = (
    fills,
    fill_allocations,
    risk_adjustments,
    ledger_entries,
    events,
    audit_log,
    audit_chain,
    audit_seals,
    audit_anchors,
    reconciliation_log,
    position_adjustments,
)
