"""Who calls, and how they came in."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api.rights import Right, Scope
from db.sessions import Credential, Proof
from db.users import Role, User


@dataclass(frozen=True, kw_only=True)
class Session:
    """A person who logged in; `proven_lately` says whether they proved who they are in the last five minutes."""

    id: UUID
    proven_at: datetime
    proven_by: Proof
    proven_lately: bool
    has_factor: bool


@dataclass(frozen=True, kw_only=True)
class Key:
    """A program with an API key, which the request was signed with."""

    id: UUID
    scopes: frozenset[Scope]


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Whom a request speaks for, by its token or signature, and the right of the route that it asks for.

    Whether they are still let in, and have that right, is for the books to say. `expires_at` is the credential's
    own end; `key` is what the request was signed with, if it was signed.
    """

    user_id: UUID
    right: Right
    credential: Credential
    expires_at: datetime
    key: Key | None = None

    @property
    def key_id(self) -> UUID | None:
        return None if self.key is None else self.key.id


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A user as the books have them now, who has the right of the route."""

    user: User
    via: Session | Key
    principal: Principal

    @property
    def id(self) -> UUID:
        return self.user.id

    @property
    def role(self) -> Role:
        return self.user.role
