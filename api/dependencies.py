"""What routes ask for: the connections, who is calling, and what that person may do."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.connections import Connections
from api.errors import FieldFault, Problem, invalid
from api.fields import CLIENT_ID
from api.tokens import Principal, TokenExpired, TokenRefused
from db.users import Role, User, get_user

_bearer = HTTPBearer(auto_error=False, description="The `access_token` of POST /api/auth/login")


def connections(request: Request) -> Connections:
    opened: Connections = request.app.state.connections
    return opened


ConnectionsDep = Annotated[Connections, Depends(connections)]


async def principal(
    connected: Annotated[Connections, Depends(connections)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Whom the request's token speaks for; whether they are still let in is for the books to say."""
    if credentials is None:
        raise unauthorised("token_missing", "send the access token as `Authorization: Bearer …`")
    try:
        return connected.tokens.verify(credentials.credentials, now=datetime.now(UTC))
    except TokenExpired as error:
        raise unauthorised("token_expired", "the access token has expired; log in again") from error
    except TokenRefused as error:
        raise unauthorised("token_invalid", "the access token is not valid here") from error


PrincipalDep = Annotated[Principal, Depends(principal)]


async def caller(connected: ConnectionsDep, who: PrincipalDep) -> User:
    """The user of the token as the books have them now."""
    user = await connected.books.read(lambda connection: get_user(connection, who.user_id))
    if user is None or not user.enabled:
        raise shut_out()
    return user


CallerDep = Annotated[User, Depends(caller)]


async def trader(user: CallerDep) -> User:
    refuse_viewers(user.role)
    return user


TraderDep = Annotated[User, Depends(trader)]


async def decider(user: CallerDep) -> User:
    if not user.role.sees_all:
        raise Problem(403, "role_forbidden", "an unresolved trade is decided by the roles risk and admin")
    return user


DeciderDep = Annotated[User, Depends(decider)]


async def limiter(user: CallerDep) -> User:
    if not user.role.sees_all:
        raise Problem(403, "role_forbidden", "limits are changed by the roles risk and admin")
    return user


LimiterDep = Annotated[User, Depends(limiter)]


async def reviewer(user: CallerDep) -> User:
    if not user.role.sees_all:
        raise Problem(403, "role_forbidden", "discrepancies are decided by the roles risk and admin")
    return user


ReviewerDep = Annotated[User, Depends(reviewer)]

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="In place of `client_order_id`; one of the two is required"),
]


def refuse_viewers(role: Role) -> None:
    if role is Role.VIEWER:
        raise Problem(403, "role_forbidden", "a viewer may look and change nothing")


def shut_out() -> Problem:
    return unauthorised("token_invalid", "the access token is not valid here")


def unauthorised(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": "Bearer"})


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
