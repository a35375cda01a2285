"""The settings of each process: read once from the environment, frozen, passed down.

A wrong or missing value raises `SettingsError`, whose one line names the variable; entry points print it and
stop. Every variable may also be given as `<NAME>_FILE`, the path of a file that holds the value.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Self, TypedDict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from temporalio.client import GrpcCompression, TLSConfig
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter

SECRET_KEY_BYTES_MIN = 32


class SettingsError(Exception):
    """A variable is missing or wrong; the message is one line that names it."""


class Profile(StrEnum):
    EMBEDDED = "embedded"
    PRODUCTION = "production"


class TerminalKind(StrEnum):
    NATIVE = "native"
    BRIDGE = "bridge"
    SIMULATED = "simulated"


class ConnectOptions(TypedDict):
    target_host: str
    namespace: str
    data_converter: DataConverter
    api_key: str | None
    tls: TLSConfig | bool
    grpc_compression: GrpcCompression


@dataclass(frozen=True, kw_only=True)
class TemporalSettings:
    address: str
    namespace: str
    ui_url: str
    api_key: str | None
    tls_ca_file: Path | None
    tls_cert_file: Path | None
    tls_key_file: Path | None

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
            tls_key_file=read.path("TEMPORAL_TLS_KEY"),
        )

    def connect_options(self) -> ConnectOptions:
        """The arguments of `Client.connect`: one converter everywhere, TLS where it is set up."""
        files = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        tls: TLSConfig | bool = self.api_key is not None
        if any(files):
            authority, certificate, key = (None if file is None else file.read_bytes() for file in files)
            tls = TLSConfig(server_root_ca_cert=authority, client_cert=certificate, client_private_key=key)
        return {
            "target_host": self.address,
            "namespace": self.namespace,
            "data_converter": pydantic_data_converter,
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
    algorithm: str
    access_token_ttl: timedelta
    quote_age_max: timedelta
    host: str
    port: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        read = Environment(environ)
        return cls(
            profile=read.profile(),
            database_url=read.database_url(),
            temporal=TemporalSettings.from_environ(environ),
            secret_key=read.secret_key(),
            algorithm=read.choice("ALGORITHM", "HS256", ("HS256",)),
            access_token_ttl=timedelta(minutes=read.integer("ACCESS_TOKEN_EXPIRE_MINUTES", 15, least=1, most=60)),
            quote_age_max=read.quote_age_max(),
            host=read.text("API_HOST", "127.0.0.1"),
            port=read.integer("API_PORT", 8002, least=1, most=65535),
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


class Environment:
    """Reads variables by name; every complaint is a `SettingsError` that names the variable."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def optional(self, name: str) -> str | None:
        """The value, or that of the file which `<NAME>_FILE` names; an empty value counts as unset."""
        value = self._environ.get(name) or None
        file = self._environ.get(f"{name}_FILE") or None
        if value is not None and file is not None:
            raise SettingsError(f"{name} and {name}_FILE are both set; keep one")
        if file is None:
            return value
        try:
            # Editors of Windows put a byte order mark before UTF-8.
            return Path(file).read_text(encoding="utf-8-sig").strip() or None
        except OSError as error:
            raise SettingsError(f"{name}_FILE names {file}, which cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{name}_FILE names {file}, which is not text in UTF-8") from error

    def text(self, name: str, default: str | None = None) -> str:
        value = self.optional(name) or default
        if value is None:
            raise SettingsError(f"{name} is not set (or give {name}_FILE)")
        return value

    def path(self, name: str) -> Path | None:
        value = self._environ.get(f"{name}_FILE") or None
        if value is None:
            return None
        if not Path(value).is_file():
            raise SettingsError(f"{name}_FILE names {value}, which is no file")
        return Path(value)

    def integer(self, name: str, default: int | None, *, least: int, most: int | None = None) -> int:
        value = self.optional(name)
        if value is None:
            if default is None:
                raise SettingsError(f"{name} is not set (or give {name}_FILE)")
            return default
        try:
            number = int(value)
        except ValueError as error:
            raise SettingsError(f"{name} is {value!r}, which is no whole number") from error
        if number < least or (most is not None and number > most):
            bounds = f"at least {least}" if most is None else f"between {least} and {most}"
            raise SettingsError(f"{name} is {number}; it must be {bounds}")
        return number

    def decimal(self, name: str, default: str | None = None) -> Decimal:
        return self._positive(name, self.text(name, default))

    def decimals(self, name: str) -> Mapping[str, Decimal]:
        """Numbers by name, as in `EURUSD=20,XAUUSD=50`; none if unset."""
        found: dict[str, Decimal] = {}
        for part in filter(None, (self.optional(name) or "").split(",")):
            key, _, number = (piece.strip() for piece in part.partition("="))
            if not key or not number or key in found:
                raise SettingsError(f"{name} has {part.strip()!r}; it must be of the form EURUSD=20,XAUUSD=50")
            found[key] = self._positive(name, number)
        return found

    @staticmethod
    def _positive(name: str, value: str) -> Decimal:
        try:
            number = Decimal(value)
        except InvalidOperation as error:
            raise SettingsError(f"{name} is {value!r}, which is no number") from error
        if not number.is_finite() or number <= 0:
            raise SettingsError(f"{name} is {value}; it must be above zero")
        return number

    def flag(self, name: str, *, default: bool) -> bool:
        return self.choice(name, "on" if default else "off", ("on", "off")) == "on"

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
        return value

    def zone(self, name: str, default: str) -> ZoneInfo:
        value = self.text(name, default)
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise SettingsError(f"{name} is {value!r}, which is no time zone") from error

    def profile(self) -> Profile:
        names = tuple(profile.value for profile in Profile)
        return Profile(self.choice("NEXUS_PROFILE", Profile.PRODUCTION, names))

    def absence_quiet(self) -> timedelta:
        """How long nothing may show up at the broker before an unanswered send counts as absent."""
        return timedelta(seconds=self.integer("ABSENCE_QUIET_SECONDS", 60, least=1))

    def reconciliation_thresholds(self) -> tuple[Decimal, Decimal]:
        """In US dollars: from where a difference is put to a person, and beyond what it stops trading."""
        names = ("RECONCILIATION_REVIEW_USD", "RECONCILIATION_STOP_USD")
        review, stop = self.decimal(names[0], "100"), self.decimal(names[1], "500")
        if review > stop:
            raise SettingsError(f"{names[0]} is {review}, which is more than {names[1]}, {stop}")
        return review, stop

    def quote_age_max(self) -> timedelta:
        """How old a quote or an account snapshot may be before the gates refuse to decide on it."""
        return timedelta(milliseconds=self.integer("QUOTE_AGE_MAX_MS", 5000, least=50))

    def database_url(self) -> str:
        value = self.text("DATABASE_URL")
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in {"postgresql", "postgresql+asyncpg", "postgres"}:
            raise SettingsError("DATABASE_URL must begin with postgresql://")
        address, mark, options = rest.partition("?")
        # What libpq calls sslmode, the driver calls ssl; left as it is, it would be an unknown option.
        named = [re.sub("^sslmode=", "ssl=", option) for option in options.split("&")]
        return f"postgresql+asyncpg://{address}{mark}{'&'.join(named)}"

    def secret_key(self) -> bytes:
        value = self.text("SECRET_KEY").encode()
        if len(value) < SECRET_KEY_BYTES_MIN:
            raise SettingsError(f"SECRET_KEY has {len(value)} bytes; it must have at least {SECRET_KEY_BYTES_MIN}")
        if len(set(value)) < SECRET_KEY_BYTES_MIN // 4:
            raise SettingsError("SECRET_KEY repeats a few characters; make one with `openssl rand -hex 32`")
        return value
