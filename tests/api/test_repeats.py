"""Every route that changes something, sent twice: the second time has no effect, as docs/repeats.md says of it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.rights import ROUTES, Scope
from api.totp import code_at
from db import approvals
from db.approvals import Approved, NewApproval
from db.seed import let_trade
from db.sessions import NewSession, Proof, begin_session
from db.users import NewUser, Role
from stack.state import CHECKOUT
from tests.api.authenticator import Authenticator
from tests.api.books import NOBODYS, at_rest, id_of, open_hedge
from tests.api.broker import LOST_VOLUME
from tests.api.conftest import Api, order
from tests.api.desks import FACTORS
from tests.api.differing import balance_gap, waiting
from tests.api.people import add_person, enter, rewrite, secret_of, signed_in, step_at
from tests.api.signing import KEYS, add_program
from tests.db.auditing import note_fault

DOCUMENT = (CHECKOUT / "docs" / "repeats.md").read_text(encoding="utf-8")
LINES = {
    (method, path): (how, told)
    for method, path, how, told in re.findall(r"^\| `([A-Z]+) (\S+)` \| (\w+) \| (.+) \|$", DOCUMENT, re.MULTILINE)
}
UNSAFE = {place for place in ROUTES if place[0] != "GET"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request that succeeds; `other` is another under its key, `again` what a repeat gets if not the same."""

    path: str
    body: dict[str, Any] | None
    other: tuple[str, dict[str, Any]] | None = None
    again: int | None = None


@dataclass(frozen=True, kw_only=True)
class Asker:
    """A person of their own, an admin who trades on account demo."""

    api: Api
    person: NewUser
    headers: dict[str, str]
    entered: dict[str, Any]

    async def ask(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        options = {} if body is None else {"json": body}
        return await self.api.http.request(method, path, headers=self.headers, **options)

    async def trade(self, **changes: Any) -> str:
        answer = await self.ask("POST", "/api/trading/execute", order(uuid4().hex, **changes))
        assert answer.status_code == 201, answer.json()
        trade_id: str = answer.json()["id"]
        return trade_id

    async def effects(self) -> tuple[dict[str, str], int]:
        """What the books say, once nothing moves any more, and how many orders were sent."""
        return await at_rest(self.api.database.engine("owner")), len(self.api.broker.sent)


Prepare = Callable[[Asker], Awaitable[Case]]
CASES: dict[tuple[str, str], Prepare] = {}


def case(method: str, path: str) -> Callable[[Prepare], Prepare]:
    def add(prepare: Prepare) -> Prepare:
        CASES[method, path] = prepare
        return prepare

    return add


@pytest.fixture
async def asker(api: Api) -> AsyncIterator[Asker]:
    person = await add_person(api.database, Role.ADMIN)
    async with api.database.engine("owner").begin() as connection:
        await let_trade(connection, account=id_of("demo"), user_id=person.id)
    entered = await enter(api.http, person.username)
    yield Asker(api=api, person=person, headers=signed_in(entered), entered=entered)
    await rewrite(api.database, "UPDATE trading_control SET state = 'active', stop_id = NULL")
    await rewrite(api.database, "UPDATE emergency_stops SET resumed_at = now(), ended_at = now()")


@case("POST", "/api/trading/execute")
async def _execute(_: Asker) -> Case:
    body, path = order(uuid4().hex), "/api/trading/execute"
    return Case(path=path, body=body, other=(path, {**body, "volume": "0.20"}))


async def _hedged(asker: Asker) -> tuple[int, int]:
    """Two opposite positions of the asker, shown by the broker."""
    numbers = int(uuid4().int % 10**9) + 10**10, int(uuid4().int % 10**9) + 2 * 10**10
    await open_hedge(asker.api.database, long=numbers[0], short=numbers[1])
    owned = "UPDATE trade_ledger SET user_id = $1 WHERE broker_order_id = ANY($2)"
    await rewrite(asker.api.database, owned, asker.person.id, list(numbers))
    return numbers


@case("POST", "/api/trading/positions/{position_id}/close")
async def _close(asker: Asker) -> Case:
    path = f"/api/trading/positions/{(await _hedged(asker))[0]}/close"
    body = {"client_order_id": uuid4().hex, "volume": "0.10"}
    return Case(path=path, body=body, other=(path, {**body, "volume": "0.20"}))


@case("POST", "/api/trading/positions/{position_id}/close-by")
async def _close_by(asker: Asker) -> Case:
    long, short = await _hedged(asker)
    path, body = f"/api/trading/positions/{long}/close-by", {"client_order_id": uuid4().hex}
    return Case(
        path=path, body={**body, "by_position_id": short}, other=(path, {**body, "by_position_id": NOBODYS})
    )


@case("POST", "/api/trading/positions/{position_id}/reverse")
async def _reverse(asker: Asker) -> Case:
    path = f"/api/trading/positions/{(await _hedged(asker))[0]}/reverse"
    body = {"client_order_id": uuid4().hex, "volume": "0.10", "wait_ms": 10_000}
    return Case(path=path, body=body, other=(path, {**body, "volume": "0.20"}))


async def _resting(asker: Asker) -> str:
    levels = {"type": "limit", "price": "1.05000", "stop_loss": "1.04000"}
    return f"/api/trading/trades/{await asker.trade(**levels)}"


@case("POST", "/api/trading/trades/{trade_id}/cancel")
async def _cancel(asker: Asker) -> Case:
    trade, body = await _resting(asker), {"client_order_id": uuid4().hex}
    return Case(path=f"{trade}/cancel", body=body, other=(f"{trade}/modify", {**body, "stop_loss": "1.03000"}))


@case("POST", "/api/trading/trades/{trade_id}/modify")
async def _modify(asker: Asker) -> Case:
    path, body = f"{await _resting(asker)}/modify", {"client_order_id": uuid4().hex, "stop_loss": "1.04500"}
    return Case(path=path, body=body, other=(path, {**body, "stop_loss": "1.04600"}))


@case("POST", "/api/trading/trades/{trade_id}/resolve")
async def _resolve(asker: Asker) -> Case:
    path = f"/api/trading/trades/{await asker.trade(volume=str(LOST_VOLUME))}/resolve"
    body = {"client_order_id": uuid4().hex, "verdict": "absent", "reason": "the desk was asked"}
    return Case(path=path, body=body, other=(path, {**body, "reason": "nobody was asked"}))


@case("POST", "/api/system/emergency-stop")
async def _stop(asker: Asker) -> Case:
    path, place = "/api/system/emergency-stop", {"scope": "user", "scope_id": str(asker.person.id)}
    body = {"client_order_id": uuid4().hex, "reason": "a test", "wait_ms": 5_000, **place}
    return Case(path=path, body=body, other=(path, {**body, "mode": "reduce_only"}))


@case("POST", "/api/reconciliation/discrepancies/{discrepancy_id}/decide")
async def _decide(asker: Asker) -> Case:
    found = await waiting(asker.api, await balance_gap(asker.api, "250"))
    path = f"/api/reconciliation/discrepancies/{found}/decide"
    body = {"client_order_id": uuid4().hex, "decision": "accept", "reason": "told by mail"}
    return Case(path=path, body=body, other=(path, {**body, "decision": "dispute"}))


@case("POST", "/api/trading/reconcile")
async def _reconcile(_: Asker) -> Case:
    return Case(path="/api/trading/reconcile", body={"client_order_id": uuid4().hex, "account": "second"})


@case("POST", "/api/system/resume")
async def _resume(asker: Asker) -> Case:
    stop = await _stop(asker)
    assert (await asker.ask("POST", stop.path, stop.body)).status_code == 201
    place = {"scope": "user", "scope_id": str(asker.person.id)}
    return Case(path="/api/system/resume", body={"reason": "the test goes on", **place}, again=409)


@case("PUT", "/api/trading/limits/{name}")
async def _limit(asker: Asker) -> Case:
    body = {"account": "demo", "username": asker.person.username, "value": "9999", "reason": "a test"}
    return Case(path="/api/trading/limits/open_orders", body=body)


async def _approval(asker: Asker) -> str:
    first = await add_person(asker.api.database, Role.ADMIN)
    limit = {"account": "demo", "value": "8888", "reason": "a test", "username": asker.person.username}
    asked = NewApproval(
        id=uuid4(),
        what=Approved.LIMIT,
        body={"name": "open_orders", "limit": limit},
        body_hash=uuid4().hex,
        summary="a test",
        requested_by=first.id,
    )
    async with asker.api.database.engine("owner").begin() as connection:
        await approvals.ask(connection, asked)
    return f"/api/approvals/{asked.id}"


@case("POST", "/api/audit/faults/{fault_id}/accept")
async def _accept(asker: Asker) -> Case:
    path = f"/api/audit/faults/{await note_fault(asker.api.database)}/accept"
    return Case(path=path, body={"reason": "a drill"})


@case("POST", "/api/approvals/{approval_id}/approve")
async def _approve(asker: Asker) -> Case:
    return Case(path=f"{await _approval(asker)}/approve", body={"reason": "looked at twice"})


@case("POST", "/api/approvals/{approval_id}/refuse")
async def _refuse(asker: Asker) -> Case:
    return Case(path=f"{await _approval(asker)}/refuse", body={"reason": "looked at twice"})


@case("POST", "/api/auth/keys")
async def _make_key(_: Asker) -> Case:
    return Case(path=KEYS, body={"name": "bot"}, again=409)


@case("POST", "/api/auth/keys/{key_id}/rotate")
async def _rotate(asker: Asker) -> Case:
    program = await add_program(asker.api.database, asker.person.id, Scope.READ)
    return Case(path=f"{KEYS}/{program.key_id}/rotate", body={}, again=409)


@case("DELETE", "/api/auth/keys/{key_id}")
async def _revoke(asker: Asker) -> Case:
    return Case(path=f"{KEYS}/{(await add_program(asker.api.database, asker.person.id)).key_id}", body=None)


async def _other_session(asker: Asker) -> UUID:
    session = NewSession(
        id=uuid4(),
        user_id=asker.person.id,
        address="203.0.113.9",
        agent="another",
        proven_by=Proof.PASSWORD,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    async with asker.api.database.engine("api").begin() as connection:
        await begin_session(connection, session, token_hash=uuid4().hex, lasts=timedelta(hours=1))
    return session.id


@case("DELETE", "/api/auth/sessions/{session_id}")
async def _end_session(asker: Asker) -> Case:
    return Case(path=f"/api/auth/sessions/{await _other_session(asker)}", body=None, again=404)


@case("DELETE", "/api/auth/sessions")
async def _end_sessions(asker: Asker) -> Case:
    await _other_session(asker)
    return Case(path="/api/auth/sessions", body=None, again=200)


@case("POST", "/api/auth/logout")
async def _logout(_: Asker) -> Case:
    return Case(path="/api/auth/logout", body=None, again=401)


@case("POST", "/api/auth/refresh")
async def _refresh(asker: Asker) -> Case:
    body = {"refresh_token": asker.entered["refresh_token"]}
    return Case(path="/api/auth/refresh", body=body, again=200)


@case("POST", "/api/auth/factors/{factor_id}/confirm")
async def _confirm(asker: Asker) -> Case:
    offered = (await asker.ask("POST", f"{FACTORS}/totp", {"label": "phone"})).json()
    code = code_at(secret_of(offered["secret"]), step_at(datetime.now(UTC).timestamp()))
    return Case(path=f"{FACTORS}/{offered['id']}/confirm", body={"code": code}, again=404)


@case("POST", "/api/auth/factors/webauthn")
async def _passkey(asker: Asker) -> Case:
    options = (await asker.ask("POST", f"{FACTORS}/webauthn/options", None)).json()["passkey"]
    body = {"label": "key", "credential": Authenticator().make(options)}
    return Case(path=f"{FACTORS}/webauthn", body=body, again=422)


@case("DELETE", "/api/auth/factors/{factor_id}")
async def _remove_factor(asker: Asker) -> Case:
    added = await _passkey(asker)
    factor = (await asker.ask("POST", added.path, added.body)).json()["id"]
    # With the last factor its recovery codes go as well.
    return Case(path=f"{FACTORS}/{factor}", body=None, again=404)


@case("POST", "/api/trading/preview")
async def _preview(_: Asker) -> Case:
    return Case(path="/api/trading/preview", body=order(uuid4().hex))


@case("POST", "/api/trading/size")
async def _size(_: Asker) -> Case:
    body = {"account": "demo", "symbol": "EURUSD", "side": "buy", "risk_amount": "100", "stop_points": 100}
    return Case(path="/api/trading/size", body=body)


def test_every_unsafe_route_says_what_a_repeat_does() -> None:
    assert set(LINES) == UNSAFE
    assert {how for how, _ in LINES.values()} == {"key", "thing", "nothing", "anew"}
    assert set(CASES) == {place for place, (how, _) in LINES.items() if how != "anew"}


@pytest.mark.parametrize(("method", "path"), CASES, ids=lambda part: part)
async def test_request_sent_twice_has_its_effect_once(api: Api, asker: Asker, method: str, path: str) -> None:
    how, _ = LINES[method, path]
    this = await CASES[method, path](asker)
    before = await asker.effects()
    first = await asker.ask(method, this.path, this.body)
    assert first.status_code < 300, first.text
    done = await asker.effects()
    assert (done == before) is (how == "nothing"), path

    again, third = [await asker.ask(method, this.path, this.body) for _ in range(2)]
    assert await asker.effects() == done, f"the repeat got {again.status_code}: {again.text}"
    if this.again is not None:
        assert again.status_code == third.status_code == this.again, again.text
    elif how != "nothing":
        assert again.status_code == first.status_code, again.text
        assert _identity(again) == _identity(first)
        assert (again.status_code, again.content) == (third.status_code, third.content)

    assert (this.other is not None) is (how == "key")
    if this.other is not None:
        other = await asker.ask(method, *this.other)
        assert other.status_code == 409, other.text
        assert await asker.effects() == done


def _identity(answer: httpx.Response) -> Any:
    """What of an answer does not move on as the trade does."""
    if not answer.content:
        return None
    told = answer.json()
    for part in ("closing", "trade"):
        told = told.get(part, told)
    return told.get("id", told)
