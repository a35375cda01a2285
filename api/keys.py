"""API keys for programs: made by a person, shown once, replaced and revoked.

A request to make or rotate one may come again without making another: the first finds the name taken, the second
that the key was rotated. The secret is in the first answer alone, and nowhere after it.
"""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Self
from uuid import UUID, uuid4

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from api.callers import Caller
from api.connections import Connections
from api.dependencies import CallerDep, ConnectionsDep
from api.errors import FieldFault, Problem, invalid
from api.proofs import require_recent_proof, require_session
from api.rights import Scope, may_give
from api.signatures import about_key
from api.tokens import new_secret
from api.views import View
from db import api_keys
from db.api_keys import NewKey

router = APIRouter(prefix="/api/auth/keys", tags=["auth"])

_DAYS_MAX = 366
# Scopes with which a stolen key does harm from anywhere, unless it is held to where its program runs.
_HELD_TO_NETWORKS = frozenset({Scope.TRADE, Scope.ADMIN})


def _one_network(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("send a network as a string, like 192.0.2.0/24")  # noqa: TRY004 - Pydantic reports ValueError
    return value


class KeyBody(BaseModel):
    """`networks` are those the key may be used from, any if there are none.

    In production, keys with the scope trade or admin need one.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "grid-bot", "scopes": ["read"], "networks": ["192.0.2.7/32"]}]},
    )

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,63}$")]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)] = frozenset({Scope.READ})
    networks: Annotated[
        list[Annotated[IPv4Network | IPv6Network, BeforeValidator(_one_network)]], Field(max_length=32)
    ] = []
    expires_in_days: Annotated[StrictInt, Field(ge=1, le=_DAYS_MAX)] = 90


class RotateBody(BaseModel):
    """For how long the old key lives on beside the new one, which lives as long as `expires_in_days` says."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: Annotated[StrictInt, Field(ge=0, le=168)] = 24
    expires_in_days: Annotated[StrictInt, Field(ge=1, le=_DAYS_MAX)] = 90


class ApiKey(View):
    """A key that lives. `last_used_at` is true to ten seconds; `replaced_at` is when another took its place."""

    id: UUID
    name: str
    scopes: list[Scope]
    networks: list[IPv4Network | IPv6Network]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    last_address: str | None = None
    replaces: UUID | None = None
    replaced_at: datetime | None = None


class ApiKeys(View):
    items: list[ApiKey]


class KeyMade(ApiKey):
    """Sign with `secret`; it is not shown again."""

    secret: str

    @classmethod
    def of(cls, new: NewKey, secret: str, *, now: datetime, replaces: UUID | None = None) -> Self:
        return cls.model_validate({**vars(new), "secret": secret, "created_at": now, "replaces": replaces})


@router.get("")
async def list_keys(connected: ConnectionsDep, caller: CallerDep) -> ApiKeys:
    """Your API keys that live, the oldest first."""
    require_session(caller)
    rows = await connected.books.read(lambda connection: api_keys.list_keys(connection, caller.id))
    return ApiKeys(items=[ApiKey.model_validate(row) for row in rows])


@router.post("", status_code=201)
async def make_key(body: KeyBody, connected: ConnectionsDep, caller: CallerDep) -> KeyMade:
    """Make an API key, after step-up. No key reaches further than its user, and none can make another."""
    require_recent_proof(caller)
    faults = list(_faults(body, connected, caller))
    if faults:
        raise invalid(faults)
    now, secret = datetime.now(UTC), new_secret()
    new = _new(connected, caller, body, secret, expires_at=now + timedelta(days=body.expires_in_days))
    if not await connected.books.change(lambda connection: api_keys.add_key(connection, new)):
        detail = f"you have an API key {body.name!r}; if its secret is lost, revoke it and make it again"
        raise Problem(409, "key_name_taken", detail)
    return KeyMade.of(new, secret, now=now)


@router.delete("/{key_id}", status_code=204)
async def revoke_key(key_id: UUID, connected: ConnectionsDep, caller: CallerDep) -> None:
    """Revoke a key, from its next request on, wherever it arrives. Again changes nothing."""
    require_session(caller)
    actor = f"user:{caller.id}"
    if not await connected.books.change(
        lambda connection: api_keys.revoke_key(connection, caller.id, key_id, actor=actor)
    ):
        raise _not_found(key_id)


@router.post("/{key_id}/rotate", status_code=201)
async def rotate_key(key_id: UUID, body: RotateBody, connected: ConnectionsDep, caller: CallerDep) -> KeyMade:
    """Put a new key in the place of this one, after step-up; the old one lives on for the overlap."""
    require_recent_proof(caller)
    now, secret = datetime.now(UTC), new_secret()
    overlap, expires_at = timedelta(hours=body.overlap_hours), now + timedelta(days=body.expires_in_days)

    async def rotate(connection: AsyncConnection) -> KeyMade:
        known = await _rotatable(connection, caller, key_id)
        same = KeyBody.model_construct(name=known.name, scopes=frozenset(known.scopes), networks=known.networks)
        # What was right for the user's role when it was made may no longer be.
        faults = list(_faults(same, connected, caller))
        if faults:
            raise invalid(faults)
        new = _new(connected, caller, same, secret, expires_at=expires_at)
        await api_keys.replace_key(connection, key_id, new, overlap=overlap)
        return KeyMade.of(new, secret, now=now, replaces=key_id)

    return await connected.books.change(rotate)


async def _rotatable(connection: AsyncConnection, caller: Caller, key_id: UUID) -> ApiKey:
    """The key, locked; raises unless it lives and no other is in its place or still lives beside it."""
    row = await api_keys.read_key(connection, caller.id, key_id)
    if row is None or row["revoked_at"] is not None:
        raise _not_found(key_id)
    known = ApiKey.model_validate(row)
    if known.replaced_at is not None:
        raise Problem(409, "key_rotated", f"API key {key_id} was rotated at {known.replaced_at}; see the list")
    if known.replaces is not None and await api_keys.lives(connection, known.replaces):
        detail = f"the key before it, {known.replaces}, still lives, and two at once are enough; revoke that first"
        raise Problem(409, "key_overlap", detail)
    return known


def _faults(body: KeyBody, connected: Connections, caller: Caller) -> list[FieldFault]:
    beyond = sorted(scope for scope in body.scopes if not may_give(scope, caller.role))
    faults = [FieldFault(field="scopes", message=f"a {caller.role} cannot give {scope}") for scope in beyond]
    if connected.rules.networks_required and not body.networks and body.scopes & _HELD_TO_NETWORKS:
        message = "a key that trades or administers names the networks that its program runs in"
        faults.append(FieldFault(field="networks", message=message))
    return faults


def _new(connected: Connections, caller: Caller, body: KeyBody, secret: str, *, expires_at: datetime) -> NewKey:
    key_id = uuid4()
    return NewKey(
        id=key_id,
        user_id=caller.id,
        name=body.name,
        secret=connected.vault.seal(secret.encode(), about=about_key(key_id)),
        scopes=sorted(body.scopes),
        networks=body.networks,
        expires_at=expires_at,
    )


def _not_found(key_id: UUID) -> Problem:
    return Problem(404, "key_not_found", f"you have no API key {key_id}")
