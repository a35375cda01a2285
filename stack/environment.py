"""What the environment may say to the launcher and the command line; flags win over it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Self

from settings import Environment

# What a person may tune in the embedded stack; everything else its programs see is decided by the launcher.
HANDED_ON = (
    "ACCESS_TOKEN_EXPIRE_MINUTES",
    "AUDIT_ANCHOR_SECONDS",
    "AUDIT_ANCHOR_URL",
    "AUDIT_CHECK_SECONDS",
    "FEED_INTERVAL_MS",
    "LEASE_SECONDS",
    "LINK_PATIENCE_SECONDS",
    "MT5_CALL_DEADLINE_MS",
    "QUOTE_AGE_MAX_MS",
    "RATE_LIMIT_LOGINS",
    "RATE_LIMIT_ORDERS",
    "RATE_LIMIT_OTHERS",
    "RATE_LIMIT_READS",
    "RATE_LIMIT_STOPS",
    "RECONCILIATION_INTERVAL_SECONDS",
    "RECONCILIATION_REVIEW_USD",
    "RECONCILIATION_STOPS",
    "RECONCILIATION_STOP_USD",
    "REDIS_URL",
    "SLIPPAGE_THRESHOLD",
    "SLIPPAGE_THRESHOLD_POINTS",
    "TEMPORAL_CODEC_KEY",
    "TEMPORAL_CODEC_KEY_FILE",
    "TEMPORAL_CODEC_KEY_PREVIOUS",
    "TEMPORAL_CODEC_KEY_PREVIOUS_FILE",
    "WORKFLOW_SANDBOX",
)


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """The embedded stack: its state, its ports, its first limits, and what its programs are handed unchanged."""

    state_dir: Path | None
    postgres_port: int
    temporal_port: int
    temporal_ui_port: int
    simulator_port: int
    api_port: int
    codec_port: int
    daily_loss_limit: Decimal
    position_size_max: Decimal
    handed_on: Mapping[str, str]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        read = Environment(environ)
        state_dir = read.optional("STATE_DIR")
        return cls(
            state_dir=Path(state_dir).absolute() if state_dir is not None else None,
            postgres_port=read.integer("POSTGRES_PORT", 5433, least=1024, most=65535),
            temporal_port=read.integer("TEMPORAL_PORT", 7233, least=1024, most=65535),
            temporal_ui_port=read.integer("TEMPORAL_UI_PORT", 8233, least=1024, most=65535),
            simulator_port=read.integer("SIMULATOR_PORT", 18813, least=1024, most=65535),
            api_port=read.integer("API_PORT", 8002, least=1024, most=65535),
            codec_port=read.integer("CODEC_PORT", 8235, least=1024, most=65535),
            # In the demo account's currency: room for several lots of a currency pair, far below its equity.
            daily_loss_limit=read.decimal("DAILY_LOSS_LIMIT", "10000"),
            position_size_max=read.decimal("MAX_POSITION_SIZE", "500000"),
            handed_on={name: environ[name] for name in HANDED_ON if environ.get(name)},
        )


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Where the command line finds the API when no stack of this checkout is meant."""

    url: str | None
    token: str | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        read = Environment(environ)
        return cls(url=read.optional("NEXUS_URL"), token=read.optional("NEXUS_TOKEN"))
