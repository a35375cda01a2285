"""The settings of each process: read once from the environment, frozen, passed down.

A wrong or missing value raises `SettingsError`, whose one line names the variable; entry points print it and
stop. Every variable may also be given as `<NAME>_FILE`, the path of a file that holds the value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Self, TypedDict
from zoneinfo import ZoneInfo

from temporalio.client import GrpcCompression, Interceptor, TLSConfig
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import DataConverter

from environment import Environment, Profile, Rate, SettingsError
from payloads import data_converter
from workflows.propagation import OriginInterceptor

__all__ = [
    "ApiSettings",
    "BrokerSettings",
    "Bucket",
    "ConnectOptions",
    "Environment",
    "PipelineSettings",
    "Profile",
    "Rate",
    "SealerSettings",
    "SettingsError",
    "TemporalSettings",
    "TerminalKind",
]


class TerminalKind(StrEnum):
    NATIVE = "native"
    BRIDGE = "bridge"
    SIMULATED = "simulated"


class Bucket(StrEnum):
    """What is limited together: an order uses up nothing that a stop needs."""

    READS = "reads"
    ORDERS = "orders"
    STOPS = "stops"
    OTHERS = "others"
    LOGINS = "logins"


# By user or API key, the last by address, behind which there may be a whole desk.
RATE_LIMITS = {
    Bucket.READS: "200/second",
    Bucket.ORDERS: "100/second",
    Bucket.STOPS: "100/second",
    Bucket.OTHERS: "50/second",
    Bucket.LOGINS: "300/minute",
}


class ConnectOptions(TypedDict):
    target_host: str
    namespace: str
    data_converter: DataConverter
    header_codec_behavior: HeaderCodecBehavior
    api_key: str | None
    tls: TLSConfig | bool
    grpc_compression: GrpcCompression
    interceptors: list[Interceptor]


@dataclass(frozen=True, kw_only=True)
class TemporalSettings:
    address: str
    namespace: str
    ui_url: str
    api_key: str | None
    tls_ca_file: Path | None
    tls_cert_file: Path | None
    tls_key_file: Path | None
    codec_keys: tuple[bytes, ...]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        read = Environment(environ)
        return cls(
            address=read.text("TEMPORAL_ADDRESS", "127.0.0.1:7233"),
            namespace=read.text("TEMPORAL_NAMESPACE", "default"),
            ui_url=read.text("TEMPORAL_UI_URL", "http://127.0.0.1:8233").rstrip("/"),
            api_key=read.optional("TEMPORAL_API_KEY"),
            tls_ca_file=read.path("TEMPORAL_TLS_CA"),
            tls_cert_file=read.path("TEMPORAL_TLS_CERT"),
            tls_key_file=read.secret_path("TEMPORAL_TLS_KEY"),
            codec_keys=read.optional_secret_keys("TEMPORAL_CODEC_KEY"),
        )

    def connect_options(self) -> ConnectOptions:
        """The arguments of `Client.connect`: one converter everywhere, TLS and encryption where set up."""
        files = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        tls: TLSConfig | bool = self.api_key is not None
        if any(files):
            authority, certificate, key = (None if file is None else file.read_bytes() for file in files)
            tls = TLSConfig(server_root_ca_cert=authority, client_cert=certificate, client_private_key=key)
        return {
            "target_host": self.address,
            "namespace": self.namespace,
            "data_converter": data_converter(self.codec_keys),
            "header_codec_behavior": (
                HeaderCodecBehavior.CODEC if self.codec_keys else HeaderCodecBehavior.NO_CODEC
            ),
            "interceptors": [OriginInterceptor()],
            "api_key": self.api_key,
            "tls": tls,
            # Messages are small and mostly local; compressing them costs more than it saves.
            "grpc_compression": GrpcCompression.NONE,
        }


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    profile: Profile
    database_url: str
    temporal: TemporalSettings
    secret_key: bytes
    secret_key_previous: bytes | None
    algorithm: str
    access_token_ttl: timedelta
    session_ttl: timedelta
    session_idle: timedelta
    two_persons: bool
    webauthn_origin: str | None
    quote_age_max: timedelta
    rate_limits: Mapping[Bucket, Rate | None]
    redis_url: str | None
    host: str
    port: int
    tls_files: tuple[Path, Path] | None
    cors_origins: tuple[str, ...]
    trusted_proxies: str | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        read = Environment(environ)
        profile = read.profile()
        embedded = profile is Profile.EMBEDDED
        secret_key = read.secret_key("SECRET_KEY")
        access_minutes = read.integer("ACCESS_TOKEN_EXPIRE_MINUTES", 15, least=1, most=60)
        return cls(
            profile=profile,
            database_url=read.database_url(),
            temporal=TemporalSettings.from_environ(environ),
            secret_key=secret_key,
            secret_key_previous=read.previous_secret_key(secret_key),
            algorithm=read.choice("ALGORITHM", "HS256", ("HS256",)),
            access_token_ttl=timedelta(minutes=access_minutes),
            session_ttl=timedelta(hours=read.integer("SESSION_HOURS", 12, least=1, most=168)),
            session_idle=timedelta(
                minutes=read.integer(
                    "SESSION_IDLE_MINUTES", max(30, access_minutes), least=access_minutes, most=1440
                )
            ),
            two_persons=read.flag("TWO_PERSONS", default=not embedded),
            webauthn_origin=read.origin("WEBAUTHN_ORIGIN", "http://localhost:9003" if embedded else None),
            quote_age_max=read.quote_age_max(),
            rate_limits={
                bucket: read.rate(f"RATE_LIMIT_{bucket.upper()}", default)
                for bucket, default in RATE_LIMITS.items()
            },
            redis_url=read.redis_url(),
            host=read.text("API_HOST", "127.0.0.1"),
            port=read.integer("API_PORT", 8002, least=1, most=65535),
            tls_files=read.tls_files("API_TLS"),
            cors_origins=read.origins("CORS_ORIGINS"),
            trusted_proxies=read.optional("FORWARDED_ALLOW_IPS"),
        )


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    profile: Profile
    database_url: str
    temporal: TemporalSettings
    quote_age_max: timedelta
    reconciliation_review_usd: Decimal
    reconciliation_stop_usd: Decimal
    reconciliation_stops_all: bool
    sandbox: bool

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        read = Environment(environ)
        review, stop = read.reconciliation_thresholds()
        return cls(
            profile=read.profile(),
            database_url=read.database_url(),
            temporal=TemporalSettings.from_environ(environ),
            quote_age_max=read.quote_age_max(),
            reconciliation_review_usd=review,
            reconciliation_stop_usd=stop,
            reconciliation_stops_all=read.choice("RECONCILIATION_STOPS", "account", ("account", "all")) == "all",
            sandbox=read.flag("WORKFLOW_SANDBOX", default=False),
        )


@dataclass(frozen=True, kw_only=True)
class SealerSettings:
    """Whoever seals the audit record; `anchor_path` and `anchor_url` are where its head is told to."""

    profile: Profile
    database_url: str
    signing_keys: tuple[bytes, ...]
    anchor_path: Path | None
    anchor_url: str | None
    anchor_interval: timedelta
    check_interval: timedelta

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        read = Environment(environ)
        path, url = read.optional("AUDIT_ANCHOR_PATH"), read.web_address("AUDIT_ANCHOR_URL")
        if path is None and url is None:
            raise SettingsError(
                "neither AUDIT_ANCHOR_PATH nor AUDIT_ANCHOR_URL is set; without a place outside of the database, "
                "nothing shows that the end of the audit record was cut off"
            )
        return cls(
            profile=read.profile(),
            database_url=read.database_url(),
            signing_keys=read.secret_keys("AUDIT_SIGNING_KEY"),
            anchor_path=None if path is None else Path(path),
            anchor_url=url,
            anchor_interval=timedelta(seconds=read.integer("AUDIT_ANCHOR_SECONDS", 60, least=1, most=3_600)),
            check_interval=timedelta(seconds=read.integer("AUDIT_CHECK_SECONDS", 10, least=1, most=3_600)),
        )


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """One sender: the account it serves and the terminal it reaches."""

    profile: Profile
    database_url: str
    temporal: TemporalSettings
    account_slug: str
    terminal: TerminalKind
    terminal_path: str | None
    login: int
    password: str | None
    server: str
    server_zone: ZoneInfo
    call_deadline: timedelta
    lease_ttl: timedelta
    absence_quiet: timedelta
    feed_interval: timedelta
    link_patience: timedelta
    reconciliation_interval: timedelta
    quote_age_max: timedelta
    slippage_threshold_percent: Decimal
    slippage_threshold_points: Mapping[str, Decimal]
    state_dir: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        read = Environment(environ)
        return cls(
            profile=read.profile(),
            database_url=read.database_url(),
            temporal=TemporalSettings.from_environ(environ),
            account_slug=read.text("BROKER_ACCOUNT", "demo"),
            terminal=TerminalKind(
                read.choice("MT5_TERMINAL", TerminalKind.NATIVE, tuple(kind.value for kind in TerminalKind))
            ),
            terminal_path=read.optional("MT5_PATH"),
            login=read.integer("MT5_LOGIN", None, least=1),
            password=read.optional("MT5_PASSWORD"),
            server=read.text("MT5_SERVER"),
            server_zone=read.zone("MT5_SERVER_ZONE", "Europe/Athens"),
            call_deadline=timedelta(milliseconds=read.integer("MT5_CALL_DEADLINE_MS", 10_000, least=100)),
            lease_ttl=timedelta(seconds=read.integer("LEASE_SECONDS", 10, least=2)),
            absence_quiet=read.absence_quiet(),
            feed_interval=timedelta(milliseconds=read.integer("FEED_INTERVAL_MS", 250, least=20)),
            link_patience=timedelta(seconds=read.integer("LINK_PATIENCE_SECONDS", 60, least=5)),
            reconciliation_interval=timedelta(
                seconds=read.integer("RECONCILIATION_INTERVAL_SECONDS", 60, least=10, most=3_600)
            ),
            quote_age_max=read.quote_age_max(),
            slippage_threshold_percent=read.decimal("SLIPPAGE_THRESHOLD", "0.5"),
            slippage_threshold_points=read.decimals("SLIPPAGE_THRESHOLD_POINTS"),
            state_dir=Path(read.text("STATE_DIR", ".nexus")),
        )

    @property
    def terminal_lock(self) -> Path:
        """Held by the one process of this machine that talks to the account's terminal."""
        return (self.state_dir / f"terminal-{self.account_slug}.lock").absolute()
