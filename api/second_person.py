"""What takes a second person is kept here until one has decided, and answered with 202 meanwhile."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID, uuid4

from fastapi import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from api.callers import Caller
from api.fields import body_digest
from api.views import View
from db import approvals
from db.approvals import ApprovalState, Approved, NewApproval


class Approval(View):
    """A request that waits for a second person of the roles risk and admin, or what became of it.

    `body` is what will be carried out, in the name of whoever asked.
    """

    id: UUID
    what: Approved
    summary: str
    body: dict[str, Any]
    body_hash: str
    requested_by: UUID
    requested_by_name: str
    requested_at: datetime
    expires_at: datetime
    state: ApprovalState
    decided_by: UUID | None
    decided_by_name: str | None
    decided_at: datetime | None
    reason: str | None

    @classmethod
    def of_books(cls, found: approvals.Approval) -> Self:
        return cls.model_validate(vars(found))


AWAITED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": Approval,
        "description": "Nothing was changed yet: a second person has to approve. See `Location`",
    }
}


async def ask_second_person(
    connection: AsyncConnection, caller: Caller, what: Approved, body: dict[str, Any], *, summary: str
) -> Approval:
    """Keep the request; the same again by the same person is the one that waits already."""
    new = NewApproval(
        id=uuid4(),
        what=what,
        body=body,
        body_hash=body_digest({"what": what, **body}),
        summary=summary,
        requested_by=caller.id,
    )
    return Approval.of_books(await approvals.ask(connection, new))


def awaited(approval: Approval) -> Response:
    headers = {"Location": f"/api/approvals/{approval.id}"}
    return Response(approval.model_dump_json(), 202, headers, "application/json")
