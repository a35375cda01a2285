"""Login, and who is logged in."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.dependencies import CallerDep, ConnectionsDep, unauthorised
from api.passwords import PASSWORD_LENGTH_MAX
from api.views import View
from db.users import Role, User, find_credentials

router = APIRouter(prefix="/api/auth", tags=["auth"])


class LoginBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"username": "trader", "password": "the one shown once"}]}
    )

    username: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[^\x00-\x1f\x7f]+$")]
    password: Annotated[str, StringConstraints(min_length=1, max_length=PASSWORD_LENGTH_MAX)]


class Profile(View):
    id: UUID
    username: str
    role: Role
    created_at: datetime


class LoggedIn(View):
    """Send `access_token` as `Authorization: Bearer …` until `expires_at`."""

    access_token: str
    token_type: Literal["bearer"]
    expires_at: datetime
    expires_in: int
    user: Profile


@router.post("/login")
async def login(body: LoginBody, connected: ConnectionsDep) -> LoggedIn:
    """An access token for a name and a password."""
    found = await connected.books.read(lambda connection: find_credentials(connection, body.username))
    matched = await connected.passwords.matches(body.password, None if found is None else found[1])
    if found is None or not matched or not found[0].enabled:
        raise unauthorised("credentials_invalid", "the name or the password is wrong, or the user is disabled")
    user, now = found[0], datetime.now(UTC)
    token = connected.tokens.issue(user.id, user.role, now=now)
    return LoggedIn(
        access_token=token.text,
        token_type="bearer",  # noqa: S106 - the kind of token, not one
        expires_at=token.expires_at,
        expires_in=int((token.expires_at - now).total_seconds()),
        user=_profile(user),
    )


@router.get("/profile")
async def profile(user: CallerDep) -> Profile:
    return _profile(user)


def _profile(user: User) -> Profile:
    return Profile(id=user.id, username=user.username, role=user.role, created_at=user.created_at)
