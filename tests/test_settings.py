"""A wrong or missing variable stops the process with one line that names it."""

import os
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from temporalio.client import TLSConfig

from settings import ApiSettings, BrokerSettings, Bucket, PipelineSettings, Profile, Rate, SettingsError

SECRET = "0123456789abcdef0123456789abcdef"
COMMON = {"DATABASE_URL": "postgresql://u:p@localhost/nexus"}
API = {**COMMON, "SECRET_KEY": SECRET}
BROKER = {**COMMON, "MT5_LOGIN": "50001", "MT5_SERVER": "Demo"}


def complaint(read: Callable[[dict[str, str]], object], environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        read(environ)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_a_process_needs_little_and_the_rest_has_its_default() -> None:
    api = ApiSettings.from_environ(API)
    assert (api.profile, api.algorithm, api.access_token_ttl) == (
        Profile.PRODUCTION,
        "HS256",
        timedelta(minutes=15),
    )
    assert api.database_url == "postgresql+asyncpg://u:p@localhost/nexus"

    broker = BrokerSettings.from_environ(BROKER)
    assert (broker.login, broker.terminal, broker.slippage_threshold_percent) == (50001, "native", Decimal("0.5"))
    assert PipelineSettings.from_environ(COMMON).sandbox is False


@pytest.mark.parametrize(
    ("read", "environ", "name"),
    [
        (ApiSettings.from_environ, API, "DATABASE_URL"),
        (ApiSettings.from_environ, API, "SECRET_KEY"),
        (PipelineSettings.from_environ, COMMON, "DATABASE_URL"),
        (BrokerSettings.from_environ, BROKER, "MT5_LOGIN"),
        (BrokerSettings.from_environ, BROKER, "MT5_SERVER"),
    ],
)
def test_a_missing_variable_is_named(
    read: Callable[[dict[str, str]], object], environ: dict[str, str], name: str
) -> None:
    rest = {key: value for key, value in environ.items() if key != name}
    assert complaint(read, rest).startswith(f"{name} is not set")
    # Set and empty is what an `.env` file leaves behind.
    assert complaint(read, {**rest, name: ""}).startswith(f"{name} is not set")


@pytest.mark.parametrize(
    ("read", "environ", "name", "value"),
    [
        (ApiSettings.from_environ, API, "DATABASE_URL", "mysql://localhost/nexus"),
        (ApiSettings.from_environ, API, "SECRET_KEY", "short"),
        (ApiSettings.from_environ, API, "SECRET_KEY", "a" * 64),
        (ApiSettings.from_environ, API, "SECRET_KEY", "your-secret-key-here-change-in-production"),
        (ApiSettings.from_environ, API, "SECRET_KEY_PREVIOUS", "short"),
        (ApiSettings.from_environ, API, "SECRET_KEY_PREVIOUS", SECRET),
        (ApiSettings.from_environ, API, "SESSION_HOURS", "0"),
        (ApiSettings.from_environ, API, "SESSION_IDLE_MINUTES", "5"),
        (ApiSettings.from_environ, API, "TWO_PERSONS", "yes"),
        (ApiSettings.from_environ, API, "WEBAUTHN_ORIGIN", "desk.example.com"),
        (ApiSettings.from_environ, API, "WEBAUTHN_ORIGIN", "http://desk.example.com"),
        (ApiSettings.from_environ, API, "WEBAUTHN_ORIGIN", "https://desk.example.com/"),
        (ApiSettings.from_environ, API, "WEBAUTHN_ORIGIN", "https://192.0.2.1"),
        (ApiSettings.from_environ, API, "RATE_LIMIT_ORDERS", "fast"),
        (ApiSettings.from_environ, API, "RATE_LIMIT_ORDERS", "0/second"),
        (ApiSettings.from_environ, API, "RATE_LIMIT_STOPS", "5/0 seconds"),
        (ApiSettings.from_environ, API, "REDIS_URL", "127.0.0.1:6379"),
        (ApiSettings.from_environ, API, "ALGORITHM", "none"),
        (ApiSettings.from_environ, API, "ALGORITHM", "RS256"),
        (ApiSettings.from_environ, API, "ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
        (ApiSettings.from_environ, API, "ACCESS_TOKEN_EXPIRE_MINUTES", "a day"),
        (ApiSettings.from_environ, API, "API_PORT", "65536"),
        (ApiSettings.from_environ, API, "NEXUS_PROFILE", "demo"),
        (PipelineSettings.from_environ, COMMON, "QUOTE_AGE_MAX_MS", "-1"),
        (PipelineSettings.from_environ, COMMON, "WORKFLOW_SANDBOX", "maybe"),
        (BrokerSettings.from_environ, BROKER, "MT5_TERMINAL", "mt4"),
        (BrokerSettings.from_environ, BROKER, "MT5_SERVER_ZONE", "Mars/Olympus"),
        (BrokerSettings.from_environ, BROKER, "MT5_LOGIN", "5e4"),
        (BrokerSettings.from_environ, BROKER, "SLIPPAGE_THRESHOLD", "NaN"),
        (BrokerSettings.from_environ, BROKER, "SLIPPAGE_THRESHOLD_POINTS", "EURUSD"),
        (BrokerSettings.from_environ, BROKER, "SLIPPAGE_THRESHOLD_POINTS", "EURUSD=20,EURUSD=30"),
        (BrokerSettings.from_environ, BROKER, "SLIPPAGE_THRESHOLD_POINTS", "EURUSD=-1"),
        (BrokerSettings.from_environ, BROKER, "LEASE_SECONDS", "1"),
        (BrokerSettings.from_environ, BROKER, "ABSENCE_QUIET_SECONDS", "0"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    read: Callable[[dict[str, str]], object], environ: dict[str, str], name: str, value: str
) -> None:
    assert name in complaint(read, {**environ, name: value})


def test_a_points_threshold_is_read_for_each_symbol() -> None:
    given_points = BROKER | {"SLIPPAGE_THRESHOLD_POINTS": "EURUSD=20, XAUUSD=50.5"}
    points = BrokerSettings.from_environ(given_points).slippage_threshold_points
    assert points == {"EURUSD": Decimal(20), "XAUUSD": Decimal("50.5")}
    assert BrokerSettings.from_environ(BROKER).slippage_threshold_points == {}


def test_a_rate_is_so_many_in_a_time_or_off() -> None:
    given = {"RATE_LIMIT_ORDERS": "50/second", "RATE_LIMIT_READS": "300/5 minutes", "RATE_LIMIT_LOGINS": "off"}
    rates = ApiSettings.from_environ({**API, **given}).rate_limits
    assert rates[Bucket.ORDERS] == Rate(amount=50, seconds=1)
    assert rates[Bucket.READS] == Rate(amount=300, seconds=300)
    assert rates[Bucket.LOGINS] is None
    assert rates[Bucket.STOPS] is not None


def test_a_secret_is_never_repeated_in_a_complaint() -> None:
    assert "hunter2" not in complaint(ApiSettings.from_environ, {**API, "SECRET_KEY": "hunter2"})


def test_every_secret_also_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    file.chmod(0o600)

    settings = ApiSettings.from_environ({**COMMON, "SECRET_KEY_FILE": str(file)})
    assert settings.secret_key == SECRET.encode()

    assert "SECRET_KEY_FILE" in complaint(ApiSettings.from_environ, {**API, "SECRET_KEY_FILE": str(file)})
    missing = {**COMMON, "SECRET_KEY_FILE": str(tmp_path / "nowhere")}
    assert "SECRET_KEY_FILE names" in complaint(ApiSettings.from_environ, missing)


def test_a_file_of_a_windows_editor_is_read_and_one_that_is_no_text_named(tmp_path: Path) -> None:
    file = tmp_path / "server"
    environ = {**COMMON, "MT5_LOGIN": "1", "MT5_SERVER_FILE": str(file)}
    file.write_bytes("Demo\r\n".encode("utf-8-sig"))
    file.chmod(0o600)
    assert BrokerSettings.from_environ(environ).server == "Demo"

    file.write_bytes("Demo".encode("utf-16"))
    assert complaint(BrokerSettings.from_environ, environ).endswith("which is not text in UTF-8")


def test_production_asks_for_two_persons_and_the_embedded_stack_for_one() -> None:
    production, embedded = (
        ApiSettings.from_environ({**API, "NEXUS_PROFILE": profile}) for profile in ("production", "embedded")
    )
    assert (production.two_persons, production.webauthn_origin) == (True, None)
    assert (embedded.two_persons, embedded.webauthn_origin) == (False, "http://localhost:9003")
    told = ApiSettings.from_environ(
        {**API, "TWO_PERSONS": "off", "WEBAUTHN_ORIGIN": "https://desk.example.com:8443"}
    )
    assert (told.two_persons, told.webauthn_origin) == (False, "https://desk.example.com:8443")


def test_a_session_outlasts_its_access_tokens() -> None:
    assert ApiSettings.from_environ(API).session_idle == timedelta(minutes=30)
    patient = ApiSettings.from_environ({**API, "ACCESS_TOKEN_EXPIRE_MINUTES": "60"})
    assert patient.session_idle == patient.access_token_ttl == timedelta(minutes=60)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("?sslmode=verify-full", "?ssl=verify-full"),
        ("?ssl=require&x=sslmode=y", "?ssl=require&x=sslmode=y"),
        ("", ""),
    ],
)
def test_tls_to_the_database_is_asked_for_as_libpq_or_the_driver_says(given: str, options: str) -> None:
    settings = PipelineSettings.from_environ({"DATABASE_URL": f"postgresql://u:p@db/nexus{given}"})
    assert settings.database_url == f"postgresql+asyncpg://u:p@db/nexus{options}"


def test_temporal_is_reached_by_key_or_by_certificates_as_the_environment_says(tmp_path: Path) -> None:
    def options(**environ: str) -> tuple[object, object]:
        settings = PipelineSettings.from_environ({**COMMON, **environ}).temporal
        told = settings.connect_options()
        return told["api_key"], told["tls"]

    assert options() == (None, False)
    key = tmp_path / "key"
    key.write_text("secret\n")
    key.chmod(0o600)
    assert options(TEMPORAL_API_KEY_FILE=str(key)) == ("secret", True)

    files = {}
    for name in ("TEMPORAL_TLS_CA", "TEMPORAL_TLS_CERT", "TEMPORAL_TLS_KEY"):
        (tmp_path / name).write_bytes(name.encode())
        (tmp_path / name).chmod(0o600)
        files[f"{name}_FILE"] = str(tmp_path / name)
    assert options(**files) == (
        None,
        TLSConfig(
            server_root_ca_cert=b"TEMPORAL_TLS_CA",
            client_cert=b"TEMPORAL_TLS_CERT",
            client_private_key=b"TEMPORAL_TLS_KEY",
        ),
    )
    assert complaint(PipelineSettings.from_environ, {**COMMON, "TEMPORAL_TLS_KEY_FILE": "/nowhere"}) == (
        "TEMPORAL_TLS_KEY_FILE names /nowhere, which is no file"
    )


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_s1_secret_in_a_file_that_everybody_may_read_is_refused_but_on_a_developers_machine(
    tmp_path: Path,
) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    environ = {**COMMON, "SECRET_KEY_FILE": str(file)}
    file.chmod(0o644)
    assert complaint(ApiSettings.from_environ, environ) == (
        f"SECRET_KEY_FILE names {file}, which everybody may read or change; `chmod o-rw` it"
    )
    key = {**COMMON, "TEMPORAL_TLS_KEY_FILE": str(file)}
    assert complaint(PipelineSettings.from_environ, key).startswith("TEMPORAL_TLS_KEY_FILE names")
    file.chmod(0o602)
    assert complaint(ApiSettings.from_environ, environ).startswith("SECRET_KEY_FILE names")
    assert ApiSettings.from_environ({**environ, "NEXUS_PROFILE": "embedded"}).secret_key == SECRET.encode()
    file.chmod(0o640)
    assert ApiSettings.from_environ(environ).secret_key == SECRET.encode()


@pytest.mark.parametrize("option", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
def test_an_option_of_the_database_that_the_driver_has_by_another_way_is_told_so(option: str) -> None:
    url = f"postgresql://u:p@db/nexus?sslmode=verify-full&{option}=/etc/ssl/x.pem"
    told = complaint(PipelineSettings.from_environ, {"DATABASE_URL": url})
    assert told == f"DATABASE_URL has {option}, which the driver takes as PG{option.upper()} alone"
