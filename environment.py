"""The environment, read by name: what is missing or wrong is named, and stops the process."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SECRET_KEY_BYTES_MIN = 32

# What examples have in place of a secret, and the key that FastAPI's tutorial signs with.
_PLACEHOLDER = re.compile(
    rb"secret|change|example|default|password|placeholder|insecure|somethingrandom|your[-_ ]|nexus|"
    rb"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    re.IGNORECASE,
)


_RATE = re.compile(r"([1-9][0-9]{0,6})/(?:([1-9][0-9]{0,2}) )?(second|minute|hour)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}


class SettingsError(Exception):
    """A variable is missing or wrong; the message is one line that names it."""


class Profile(StrEnum):
    EMBEDDED = "embedded"
    PRODUCTION = "production"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """At most so many, in so many seconds."""

    amount: int
    seconds: int


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
        self._check_mode(name, Path(file))
        try:
            # Editors of Windows put a byte order mark before UTF-8.
            return Path(file).read_text(encoding="utf-8-sig").strip() or None
        except OSError as error:
            raise SettingsError(f"{name}_FILE names {file}, which cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{name}_FILE names {file}, which is not text in UTF-8") from error

    def _check_mode(self, name: str, file: Path) -> None:
        """What is given as a file is a secret; on the machine of a developer others may read along."""
        if os.name != "posix" or self._environ.get("NEXUS_PROFILE") == Profile.EMBEDDED or not file.is_file():
            return
        if file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise SettingsError(f"{name}_FILE names {file}, which everybody may read or change; `chmod o-rw` it")

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

    def secret_path(self, name: str) -> Path | None:
        """The path of a file that is read later, and that is a secret."""
        found = self.path(name)
        if found is not None:
            self._check_mode(name, found)
        return found

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
        for file in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
            if f"{file}=" in options:
                raise SettingsError(f"DATABASE_URL has {file}, which the driver takes as PG{file.upper()} alone")
        # What libpq calls sslmode, the driver calls ssl; left as it is, it would be an unknown option.
        named = [re.sub("^sslmode=", "ssl=", option) for option in options.split("&")]
        return f"postgresql+asyncpg://{address}{mark}{'&'.join(named)}"

    def rate(self, name: str, default: str) -> Rate | None:
        """A number of requests in a time, such as `50/second` or `300/5 minutes`; None for `off`."""
        value = self.text(name, default)
        if value == "off":
            return None
        found = _RATE.fullmatch(value)
        if found is None:
            raise SettingsError(f"{name} is {value!r}; it must be of the form 50/second or 300/5 minutes, or off")
        return Rate(amount=int(found[1]), seconds=int(found[2] or 1) * _SECONDS[found[3]])

    def redis_url(self) -> str | None:
        value = self.optional("REDIS_URL")
        if value is not None and not value.startswith(("redis://", "rediss://")):
            raise SettingsError("REDIS_URL must begin with redis:// or rediss://")
        return value

    def secret_key(self, name: str) -> bytes:
        value = self.text(name).encode()
        if len(value) < SECRET_KEY_BYTES_MIN:
            raise SettingsError(f"{name} has {len(value)} bytes; it must have at least {SECRET_KEY_BYTES_MIN}")
        if _PLACEHOLDER.search(value):
            raise SettingsError(
                f"{name} is one that was made for an example; make one with `openssl rand -hex 32`"
            )
        if len(set(value)) < SECRET_KEY_BYTES_MIN // 4:
            raise SettingsError(f"{name} repeats a few characters; make one with `openssl rand -hex 32`")
        return value

    def previous_secret_key(self, newest: bytes, *, of: str = "SECRET_KEY") -> bytes | None:
        """The key before this one, while what was made with it is still taken; None if none is."""
        name = f"{of}_PREVIOUS"
        if self.optional(name) is None:
            return None
        previous = self.secret_key(name)
        if previous == newest:
            raise SettingsError(f"{name} is {of} itself; give the key before it, or leave it out")
        return previous

    def secret_keys(self, name: str) -> tuple[bytes, ...]:
        """The key and, where there is one, the one before it, the newest first."""
        newest = self.secret_key(name)
        previous = self.previous_secret_key(newest, of=name)
        return (newest,) if previous is None else (newest, previous)

    def optional_secret_keys(self, name: str) -> tuple[bytes, ...]:
        """The same; none where none is set."""
        if self.optional(name) is None:
            if self.optional(f"{name}_PREVIOUS") is not None:
                raise SettingsError(f"{name}_PREVIOUS is set without {name}; a key is replaced by another one")
            return ()
        return self.secret_keys(name)

    def web_address(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not re.fullmatch(r"https?://[^\s/?#]+[^\s#]*", value):
            raise SettingsError(f"{name} is no web address; it must be of the form https://host/path")
        return value

    def origin(self, name: str, default: str | None) -> str | None:
        """Where a browser opens the dashboard: `https://host[:port]`, and without TLS `http://localhost[:port]`."""
        value = self.optional(name) or default
        return None if value is None else self._origin(name, value)

    def origins(self, name: str) -> tuple[str, ...]:
        """Origins of browsers, each in full; none if unset."""
        return tuple(
            self._origin(name, part.strip()) for part in (self.optional(name) or "").split(",") if part.strip()
        )

    def tls_files(self, name: str) -> tuple[Path, Path] | None:
        """The files of a certificate with its chain and of its key, both or neither."""
        certificate, key = self.path(f"{name}_CERT"), self.secret_path(f"{name}_KEY")
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            missing = "CERT" if certificate is None else "KEY"
            raise SettingsError(f"{name}_{missing}_FILE is not set; a certificate and its key go together")
        return certificate, key

    @staticmethod
    def _origin(name: str, value: str) -> str:
        found = re.fullmatch(r"(https?)://([a-z0-9-]+(?:\.[a-z0-9-]+)*)(:[0-9]{1,5})?", value)
        if (
            found is None
            or (found[1] == "http" and found[2] != "localhost")
            or found[2].replace(".", "").isdigit()
        ):
            raise SettingsError(f"{name} is {value!r}; it must be of the form https://desk.example.com[:port]")
        return value
