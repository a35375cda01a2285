"""What the routes stand on: the books, the workflow server and the keys, opened once per process."""

from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote
from uuid import UUID

from temporalio.client import Client
from temporalio.service import RetryConfig

from api.books import Books
from api.passkeys import Passkeys
from api.passwords import Passwords
from api.rate_stores import open_store
from api.rates import Rates
from api.tokens import Tokens
from api.vault import Vault
from db.engine import make_engine
from settings import ApiSettings, Profile, TemporalSettings

# The SDK's own retries keep a request for ten seconds when the server is gone; a caller would rather ask again.
_RETRIES = RetryConfig(
    initial_interval_millis=20, max_interval_millis=100, max_elapsed_time_millis=300, max_retries=3
)

# Tries to log in queue for the same rows. However many there are, most connections are left for orders and stops.
_DOORS = 3


@dataclass(frozen=True, kw_only=True)
class Links:
    """Addresses that answers point to."""

    temporal_ui: str
    temporal_namespace: str

    def trade(self, trade_id: UUID) -> str:
        return f"/api/trading/trades/{trade_id}"

    def workflow(self, workflow_id: str) -> str:
        return f"{self.temporal_ui}/namespaces/{self.temporal_namespace}/workflows/{quote(workflow_id, safe='')}"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What this installation asks of its people: how long they stay, and what takes more than a password."""

    session_ttl: timedelta
    session_idle: timedelta
    factor_required: bool
    two_persons: bool
    networks_required: bool


@dataclass(frozen=True, kw_only=True)
class Connections:
    books: Books
    temporal: Client
    tokens: Tokens
    passwords: Passwords
    doors: Semaphore
    vault: Vault
    passkeys: Passkeys | None
    rules: Rules
    rates: Rates
    links: Links
    data_age_max: timedelta


@asynccontextmanager
async def open_connections(settings: ApiSettings) -> AsyncIterator[Connections]:
    """Open all of them without waiting for any server: each request says for itself what is away."""
    engine = make_engine(settings.database_url, application="api")
    passwords = Passwords()
    store = open_store(database_url=settings.database_url, redis_url=settings.redis_url)
    try:
        yield Connections(
            books=Books(engine),
            temporal=await connect_temporal(settings.temporal),
            tokens=Tokens(_keys(settings), ttl=settings.access_token_ttl),
            passwords=passwords,
            doors=Semaphore(_DOORS),
            vault=Vault(_keys(settings)),
            passkeys=None if settings.webauthn_origin is None else Passkeys(settings.webauthn_origin),
            rules=Rules(
                session_ttl=settings.session_ttl,
                session_idle=settings.session_idle,
                factor_required=settings.profile is Profile.PRODUCTION,
                two_persons=settings.two_persons,
                networks_required=settings.profile is Profile.PRODUCTION,
            ),
            rates=Rates(settings.rate_limits, store),
            links=Links(
                temporal_ui=settings.temporal.ui_url,
                temporal_namespace=settings.temporal.namespace,
            ),
            data_age_max=settings.quote_age_max,
        )
    finally:
        passwords.close()
        await store.close()
        await engine.dispose()


def _keys(settings: ApiSettings) -> list[bytes]:
    """The newest first."""
    previous = settings.secret_key_previous
    return [settings.secret_key, *([] if previous is None else [previous])]


async def connect_temporal(settings: TemporalSettings) -> Client:
    return await Client.connect(**settings.connect_options(), retry_config=_RETRIES, lazy=True)
