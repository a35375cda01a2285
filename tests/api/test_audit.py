"""The audit record over REST: where each change came from, how far it is sealed, and what is wrong with it."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

from audit.anchors import make_anchor
from audit.signing import Signer
from db import audit_faults, audit_standing
from db.seals import newest_seal
from domain.audit import Fault, FaultKind
from tests.api.books import id_of
from tests.api.conftest import Api, bearer, order
from tests.db.auditing import seal

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_o6_each_row_of_a_trade_names_the_request_the_address_and_the_trace_that_led_to_it(api: Api) -> None:
    request_id = f"req-{uuid4().hex}"
    headers = {"X-Request-Id": request_id, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    async with api.at("198.51.100.4") as http:
        answer = await http.post(
            "/api/trading/execute",
            json=order(f"origin-{uuid4().hex}"),
            headers={**headers, **bearer("trader")},
        )
    assert answer.status_code == 201, answer.json()
    trade_id = answer.json()["id"]

    found = await api.call("risk", "GET", "/api/audit", params={"request_id": request_id})

    rows = found.json()["items"]
    actions = [row["action"] for row in reversed(rows)]
    assert actions[:2] == ["trade.accepted", "trade.reserved"]
    assert {row["subject"] for row in rows if row["action"].startswith("trade.")} == {f"trade:{trade_id}"}
    assert {(row["address"], row["trace_id"]) for row in rows} == {("198.51.100.4", TRACE)}


async def test_rows_are_found_by_who_did_what_to_what_and_read_page_by_page(api: Api) -> None:
    answer = await api.execute(order(f"audit-{uuid4().hex}"))
    subject = f"trade:{answer.json()['id']}"
    whole = (await api.call("admin", "GET", "/api/audit", params={"subject": subject})).json()["items"]
    assert len(whole) > 2

    seen, cursor = [], None
    while True:
        asked = {"subject": subject, "action": "trade", "limit": 1, **({"cursor": cursor} if cursor else {})}
        page = (await api.call("admin", "GET", "/api/audit", params=asked)).json()
        seen += [row["id"] for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [row["id"] for row in whole if row["action"].startswith("trade.")]

    none = await api.call("admin", "GET", "/api/audit", params={"subject": subject, "actor": "nobody"})
    assert none.json()["items"] == []


async def test_what_is_sealed_has_its_place_and_the_status_says_how_far(api: Api) -> None:
    answer = await api.execute(order(f"sealed-{uuid4().hex}"))
    await seal(api.database)
    asked = {"subject": f"trade:{answer.json()['id']}"}
    rows = (await api.call("risk", "GET", "/api/audit", params=asked)).json()["items"]
    assert all(row["seq"] is not None and len(row["hash"]) == 64 for row in rows)

    async with api.database.engine("sealer").begin() as connection:
        newest = await newest_seal(connection)
        assert newest is not None
        line = make_anchor(newest, Signer(b"a signing key for these tests alone"), now=datetime.now(UTC))
        await audit_standing.note_anchor(connection, newest.seal.number, line=line, places=["file /elsewhere"])
    standing = (await api.call("trader", "GET", "/api/system/status")).json()["audit"]
    assert standing["sealed_seq"] == newest.seal.last_seq == standing["anchored_seq"]
    assert (standing["digest"], standing["places"]) == (newest.digest.hex(), ["file /elsewhere"])


async def test_a_fault_is_shown_and_accepted_once_by_whoever_looked_into_it(api: Api) -> None:
    fault = Fault(kind=FaultKind.TAIL_CUT, message="rows were cut off", seal_number=uuid4().int % 10**9)
    async with api.database.engine("sealer").begin() as connection:
        await audit_faults.note(connection, fault)
    shown = (await api.call("risk", "GET", "/api/audit/status")).json()["faults"][-1]
    assert (shown["kind"], shown["accepted_by"]) == ("tail_cut", None)
    path, word = f"/api/audit/faults/{shown['id']}/accept", {"reason": "restored from the backup of midnight"}

    answers = await asyncio.gather(*(api.call("risk", "POST", path, json=word) for _ in range(5)))

    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json()["accepted_by"] == f"user:{id_of('risk')}"
    other = await api.call("admin", "POST", path, json=word)
    assert (other.status_code, other.json()["code"]) == (409, "audit_fault_accepted")
    missing = await api.call("admin", "POST", "/api/audit/faults/999999999/accept", json=word)
    assert (missing.status_code, missing.json()["code"]) == (404, "audit_fault_not_found")
    said = await api.call("risk", "GET", "/api/audit", params={"subject": f"audit_fault:{shown['id']}"})
    assert [row["action"] for row in said.json()["items"]] == ["audit.fault_accepted"]
