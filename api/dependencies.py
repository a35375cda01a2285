"""What routes ask for: the connections, who is calling, and what that person may do."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from api.callers import Caller, Key, Principal, Session
from api.connections import Connections
from api.errors import FieldFault, Problem, invalid
from api.fields import CLIENT_ID, Instant
from api.key_signers import signer
from api.rates import bucket_of, hold_to_rate
from api.rights import ROUTES, Right, check_role, check_scopes
from api.signatures import KEY_HEADER, signature_refused
from api.tokens import TokenExpired, TokenRefused
from db.sessions import Bearer, Credential, read_bearer
from db.users import Role
from domain.origins import origin

_signed = APIKeyHeader(
    name=KEY_HEADER,
    scheme_name="SignedRequest",
    auto_error=False,
    description="The id of an API key; `X-Nexus-Signature` and the other headers go with it: docs/api-keys.md",
)
_bearer = HTTPBearer(auto_error=False, description="The `access_token` of POST /api/auth/login")


def connections(request: Request) -> Connections:
    opened: Connections = request.app.state.connections
    return opened


ConnectionsDep = Annotated[Connections, Depends(connections)]


DeadlineHeader = Annotated[
    Instant | None,
    Header(
        alias="X-Deadline", description="The instant from which on the request must not be carried out any more"
    ),
]


async def principal(
    request: Request,
    connected: Annotated[Connections, Depends(connections)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    signed: Annotated[str | None, Depends(_signed)],
    deadline: DeadlineHeader = None,
) -> Principal:
    """Whom the request's token or signature speaks for; whether they are still let in is for the books to say."""
    right = ROUTES[request.method, request.scope["route"].path]
    if deadline is not None and deadline <= datetime.now(UTC):
        # A browser or a proxy may send late what somebody has long given up; the body is here by now.
        raise Problem(409, "deadline_passed", f"it was to be taken before {deadline:%Y-%m-%dT%H:%M:%SZ}")
    if signed is not None and credentials is not None:
        raise unauthorised("credentials_ambiguous", "send an access token or sign with an API key, not both")
    if signed is not None and deadline is not None:
        # It decides whether the request acts, and no signature covers it.
        raise Problem(400, "deadline_unsigned", "a signed request ends with its window; leave X-Deadline out")
    if signed is not None:
        who = await signer(request, connected, right)
        caller_name = f"key:{who.key_id}"
        origin.set(replace(origin.get(), key_id=str(who.key_id)))
    else:
        who = _bearer_of(connected, credentials, right)
        caller_name = f"user:{who.user_id}"
    # Behind the proof of who calls: nobody can use up what is another's.
    await hold_to_rate(request, connected.rates, bucket_of(right), caller_name, refuses=right is not Right.STOP)
    return who


def _bearer_of(
    connected: Connections, credentials: HTTPAuthorizationCredentials | None, right: Right
) -> Principal:
    if credentials is None:
        raise unauthorised("token_missing", "send the access token as `Authorization: Bearer …`")
    try:
        claims = connected.tokens.verify(credentials.credentials, now=datetime.now(UTC))
    except TokenExpired as error:
        raise unauthorised("token_expired", "the access token has expired; refresh it, or log in again") from error
    except TokenRefused as error:
        raise _token_refused() from error
    credential = Credential(session_id=claims.session_id, token_hash=claims.token_hash)
    return Principal(user_id=claims.user_id, right=right, credential=credential, expires_at=claims.expires_at)


PrincipalDep = Annotated[Principal, Depends(principal)]


async def caller(connected: ConnectionsDep, who: PrincipalDep) -> Caller:
    """The user of the token or signature as the books have them now, who has the right of the route."""
    bearer = await connected.books.read(lambda connection: read_bearer(connection, who.user_id, who.credential))
    if bearer is None or not bearer.let_in or not bearer.user.enabled:
        raise shut_out(who)
    check_right(who, bearer.user.role)
    return Caller(user=bearer.user, via=_via(who, bearer), principal=who)


CallerDep = Annotated[Caller, Depends(caller)]

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="In place of `client_order_id`; one of the two is required"),
]


def check_right(who: Principal, role: Role) -> None:
    """Raise the problem of a caller who has not the right of the route, by their role or by their key's scopes."""
    check_role(who.right, role)
    if who.key is not None:
        check_scopes(who.right, who.key.scopes)


def shut_out(who: Principal) -> Problem:
    return _token_refused() if who.key is None else signature_refused()


def _token_refused() -> Problem:
    return unauthorised("token_invalid", "the access token is not valid here")


def unauthorised(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": "Bearer"})


def _via(who: Principal, bearer: Bearer) -> Session | Key:
    if who.key is not None:
        return who.key
    assert who.credential.session_id is not None, "whoever signed nothing came with the token of a session"
    assert bearer.proven_at is not None, "a session begins with a proof"
    assert bearer.proven_by is not None, "a session begins with a proof"
    return Session(
        id=who.credential.session_id,
        proven_at=bearer.proven_at,
        proven_by=bearer.proven_by,
        proven_lately=bearer.proven_lately,
        has_factor=bearer.has_factor,
    )


def one_key(client_order_id: str | None, header: str | None) -> str:
    """The key that makes the request safe to repeat, from the body or the header; both must agree."""
    quoted = None if header is None else header.strip().removeprefix('"').removesuffix('"')
    key = client_order_id or quoted
    if not key:
        raise Problem(400, "client_order_id_missing", "send client_order_id or an Idempotency-Key header")
    if quoted is not None and quoted != key:
        raise Problem(400, "client_order_id_ambiguous", "client_order_id and Idempotency-Key differ")
    if not CLIENT_ID.fullmatch(key):
        field = "Idempotency-Key" if client_order_id is None else "client_order_id"
        raise invalid([FieldFault(field=field, message="must be 1 to 64 of A-Z a-z 0-9 . _ : -")])
    return key
