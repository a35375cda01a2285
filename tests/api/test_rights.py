"""Every route, asked by every role for what is the trader's and what is another's, against the table beside this.

A new route fails here until it has a line in `ROUTES` of `api/rights.py` and its lines in `rights.csv`. The table
as it would be now is written to the folder that the failure names.
"""

import csv
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI

from api.app import create_app
from api.callers import Key, Principal
from api.dependencies import caller, check_right, principal
from api.errors import Problem
from api.rights import NEVER_HELD_UP, ROLES, ROUTES, SCOPES, Right, RouteWithoutRight, Scope, check_routes
from api.tokens import Tokens
from db import approvals, factors
from db.api_keys import add_key
from db.approvals import Approved, NewApproval
from db.factors import NewFactor
from db.seed import let_trade
from db.sessions import Credential, NewSession, Proof, begin_session
from db.users import NewUser, Role, add_user
from domain.discrepancies import DiscrepancyState
from tests.api.books import id_of, own, position, show_positions
from tests.api.conftest import KEY, TTL, Api
from tests.api.differing import waiting
from tests.api.people import rewrite
from tests.api.signing import api_key
from tests.db.auditing import note_fault

TABLE = Path(__file__).with_name("rights.csv")
COLUMNS = ("method", "path", "right", "object", "nobody", *Role)
ASKING = (None, *Role)
MINE, SECOND_OF_MINE, FOREIGN = 9_700_001, 9_700_002, 9_700_003

Objects = dict[str, dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """How to ask a route so that whoever may is told something, and nothing is changed by it."""

    body: dict[str, Any] = field(default_factory=dict)
    keyed: bool = False


ORDER = {"symbol": "NOSUCH", "side": "buy", "type": "market", "volume": "1"}

# Routes that are not here are asked with an empty body, which is refused behind the right.
ASKS: dict[tuple[str, str], Ask] = {
    ("POST", "/api/trading/execute"): Ask(body=ORDER, keyed=True),
    ("POST", "/api/trading/preview"): Ask(body=ORDER, keyed=True),
    ("POST", "/api/trading/size"): Ask(
        body={"symbol": "NOSUCH", "side": "buy", "risk_amount": "1", "stop_points": 9}
    ),
    ("POST", "/api/auth/factors/{factor_id}/confirm"): Ask(body={"code": "000000"}),
    ("POST", "/api/trading/trades/{trade_id}/cancel"): Ask(keyed=True),
    ("POST", "/api/trading/trades/{trade_id}/modify"): Ask(body={"stop_loss": "1"}, keyed=True),
    ("POST", "/api/trading/trades/{trade_id}/resolve"): Ask(
        body={"verdict": "absent", "reason": "a test"}, keyed=True
    ),
    ("POST", "/api/trading/positions/{position_id}/close"): Ask(body={"volume": "0.001"}, keyed=True),
    ("POST", "/api/trading/positions/{position_id}/close-by"): Ask(
        body={"by_position_id": SECOND_OF_MINE}, keyed=True
    ),
    ("POST", "/api/trading/positions/{position_id}/reverse"): Ask(body={"volume": "0.001"}, keyed=True),
    ("POST", "/api/reconciliation/discrepancies/{discrepancy_id}/decide"): Ask(
        body={"decision": "accept", "reason": "a test"}, keyed=True
    ),
    ("POST", "/api/audit/faults/{fault_id}/accept"): Ask(body={"reason": "a test"}),
    ("POST", "/api/approvals/{approval_id}/approve"): Ask(body={"reason": "a test"}),
    ("POST", "/api/approvals/{approval_id}/refuse"): Ask(body={"reason": "a test"}),
}


def told(status: int) -> str:
    """What an answer says of the right: 401, 403 and 404 say no, and all the others say yes."""
    return str(status) if status in {401, 403, 404} else "yes"


async def headers_of(api: Api, role: Role | None) -> dict[str, str]:
    """A session of its own for each request, since some end the one that asks."""
    if role is None:
        return {}
    session = NewSession(
        id=uuid4(),
        user_id=id_of(f"matrix-{role}"),
        address="203.0.113.2",
        agent="matrix",
        proven_by=Proof.TOTP,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    async with api.database.engine("owner").begin() as connection:
        await begin_session(connection, session, token_hash=uuid4().hex, lasts=timedelta(hours=1))
    token = Tokens([KEY], ttl=TTL).issue(session.user_id, session.id, now=datetime.now(UTC))
    return {"Authorization": f"Bearer {token.text}"}


async def objects(api: Api) -> dict[str, Objects]:
    """What there is of the trader's and of another's, by the name that it has in the paths."""
    await show_positions(api.database, *(position(number) for number in (MINE, SECOND_OF_MINE, FOREIGN)))
    found = {
        "trader": {
            "trade_id": str(id_of(f"opener-{MINE}")),
            "position_id": str(MINE),
            "discrepancy_id": str(await waiting(api, account="demo", state=DiscrepancyState.CORRECTED)),
        },
        "other": {
            "trade_id": str(id_of(f"opener-{FOREIGN}")),
            "position_id": str(FOREIGN),
            "discrepancy_id": str(await waiting(api, account="second", state=DiscrepancyState.CORRECTED)),
        },
    }
    for owner in found:
        found[owner] |= await _of_identity(api, owner)
    return found


async def _of_identity(api: Api, owner: str) -> dict[str, str]:
    session, factor, offered, approval, key = uuid4(), uuid4(), uuid4(), uuid4(), uuid4()
    user_id = id_of(f"matrix-{owner}")
    stop = {"client_order_id": uuid4().hex, "reason": "a test", "wait_ms": 0, "scope": "user"}
    answer = await api.call("risk", "POST", "/api/system/emergency-stop", json={**stop, "scope_id": str(user_id)})
    assert answer.status_code == 201, answer.json()
    await rewrite(api.database, "UPDATE trading_control SET state = 'active', stop_id = NULL")
    await rewrite(api.database, "UPDATE emergency_stops SET resumed_at = now(), ended_at = now()")
    async with api.database.engine("owner").begin() as connection:
        new = NewSession(
            id=session,
            user_id=user_id,
            address="203.0.113.2",
            agent="matrix",
            proven_by=Proof.TOTP,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        await begin_session(connection, new, token_hash=uuid4().hex, lasts=timedelta(hours=1))
        await add_key(connection, api_key(key, user_id=user_id))
        for each in (factor, offered):
            await factors.add_totp(
                connection, NewFactor(id=each, user_id=user_id, label="matrix"), secret=b"sealed"
            )
            if each is factor:
                await factors.confirm_totp(connection, user_id, factor)
        asked = NewApproval(
            id=approval,
            what=Approved.RESUME,
            body={},
            body_hash=approval.hex,
            summary="matrix",
            requested_by=user_id,
        )
        await approvals.ask(connection, asked)
    await rewrite(api.database, "UPDATE approvals SET expires_at = now() WHERE id = $1", approval)
    return {
        "session_id": str(session),
        "factor_id": str(factor),
        "offered_id": str(offered),
        "approval_id": str(approval),
        "key_id": str(key),
        "stop_id": answer.json()["id"],
        "fault_id": str(await note_fault(api.database)),
        "name": "daily_loss",
    }


async def row(api: Api, method: str, path: str, owner: str, these: dict[str, str]) -> dict[str, str]:
    ask = ASKS.get((method, path), Ask())
    if path.endswith("/confirm"):
        these = {**these, "factor_id": these["offered_id"]}
    found = {"method": method, "path": path, "right": ROUTES[method, path], "object": owner}
    for role in ASKING:
        body = {**ask.body, **({"client_order_id": uuid4().hex} if ask.keyed else {})}
        options = {} if method == "GET" else {"json": body}
        headers = await headers_of(api, role)
        answer = await api.http.request(method, path.format(**these), headers=headers, **options)
        assert answer.status_code < 500, (method, path, role, answer.text)
        found[role or "nobody"] = told(answer.status_code)
    return found


@pytest.fixture(autouse=True)
async def people(api: Api) -> None:
    """A person of each role, and another trader, all on account demo; and whose order opened which position."""
    names = {**{f"matrix-{role}": role for role in Role}, "matrix-other": Role.TRADER}
    async with api.database.engine("owner").begin() as connection:
        for name, role in names.items():
            new = NewUser(id=id_of(name), username=name, password_hash="-", role=role)
            if await add_user(connection, new, actor="test"):
                await let_trade(connection, account=id_of("demo"), user_id=new.id)
        for number, name in ((MINE, "trader"), (SECOND_OF_MINE, "trader"), (FOREIGN, "other")):
            await own(connection, number, f"matrix-{name}")


async def test_z1_matrix_of_every_role_route_and_owner_is_the_table(api: Api, tmp_path: Path) -> None:
    lines = []
    for method, path in sorted(ROUTES, key=lambda place: (place[1], place[0])):
        owners = ("trader", "other") if "{" in path else ("-",)
        for owner in owners:
            # What one request ends or removes, the next row is not to miss.
            found = await objects(api) if owner != "-" else {"-": {}}
            lines.append(await row(api, method, path, owner, found[owner]))
    now = tmp_path / "rights.csv"
    with now.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)

    assert now.read_text() == TABLE.read_text(), f"the rights differ from {TABLE}; as they are now: {now}"


def test_z1_every_route_has_a_right_and_every_right_a_route(api: Api) -> None:
    def of(app: FastAPI) -> set[tuple[str, str]]:
        paths = app.openapi()["paths"]
        return {(method.upper(), path) for path, operations in paths.items() for method in operations}

    documented = {place for place in ROUTES if place[1].startswith("/api/")}
    assert of(create_app(api.settings)) == documented
    assert set(ROLES) == set(Right)


def test_z1_route_without_a_right_keeps_the_api_from_starting() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/api/new")
    async def new() -> None: ...

    with pytest.raises(RouteWithoutRight, match="GET /api/new has no right; give it one in ROUTES"):
        check_routes(app, readers=(principal, caller))


def test_z1_route_that_reads_no_caller_keeps_the_api_from_starting() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.post("/api/system/resume")
    async def resume() -> None: ...

    with pytest.raises(RouteWithoutRight, match="never reads its caller"):
        check_routes(app, readers=(principal, caller))


OBJECT_PATHS = [place for place in ROUTES if "{" in place[1] and place[1].endswith("_id}")]


@pytest.mark.parametrize(("method", "path"), OBJECT_PATHS, ids=lambda part: part)
async def test_z2_what_is_anothers_is_not_found_just_like_what_is_missing(
    api: Api, method: str, path: str
) -> None:
    if ROUTES[method, path] is Right.APPROVE or "stop_id" in path:
        pytest.skip("seen by all who have the right")
    found = await objects(api)
    missing = {name: str(uuid4()) for name in found["other"]}
    headers = await headers_of(api, Role.TRADER)
    answers = [
        await api.http.request(method, path.format(**these), headers=headers)
        for these in (found["other"], missing)
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["code"] == answers[1].json()["code"]


def key_of(*scopes: Scope, right: Right) -> Principal:
    return Principal(
        user_id=uuid4(),
        right=right,
        credential=Credential(key_id=UUID(int=1)),
        expires_at=datetime.now(UTC),
        key=Key(id=UUID(int=1), scopes=frozenset(scopes)),
    )


@pytest.mark.parametrize("right", [right for right in Right if right is not Right.OPEN])
def test_key_has_what_its_scopes_say_and_no_more_than_its_users_role(right: Right) -> None:
    for role in Role:
        for scope in Scope:
            if right in SCOPES[scope] and role in ROLES[right]:
                check_right(key_of(scope, right=right), role)
                continue
            with pytest.raises(Problem) as refused:
                check_right(key_of(scope, right=right), role)
            assert refused.value.status == 403


def test_no_key_guards_an_account_or_opens_trading_again() -> None:
    reached = frozenset().union(*SCOPES.values())
    assert not reached & {Right.SELF, Right.KEYS, Right.RESUME, Right.APPROVE}
    assert SCOPES[Scope.CANCEL] >= NEVER_HELD_UP
