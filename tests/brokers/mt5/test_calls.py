"""A terminal may be switched to another account at any moment, and back: what it showed meanwhile never counts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from brokers.mt5 import calls, sending
from brokers.mt5.session import AccountMismatch, Pin, Session
from brokers.mt5.terminals import Reply, Terminal

OURS, OTHERS = {"login": 7, "server": "Ours", "trade_mode": 0, "margin_mode": 2}, {"login": 8, "server": "Other"}
DEAL = {"ticket": 1, "time": 1_700_000_000, "magic": 42, "order": 11, "reason": 3, "volume": 0.1}
ANSWERS: dict[str, Any] = {
    "terminal_info": {"connected": True},
    "symbols_get": [],
    "symbol_select": True,
    "positions_get": [],
    "orders_get": [],
    "history_orders_total": 0,
    "history_orders_get": [],
    "history_deals_total": 1,
    "history_deals_get": [DEAL],
}
BOUNDS = {"since": 1, "until": 2_000_000_000}


@dataclass(kw_only=True)
class Flickering:
    """A terminal that shows another account at some of the looks that are taken at it; `looks` counts them."""

    others_at: frozenset[int]
    looks: int = 0
    asked: list[str] = field(default_factory=list)

    def call(self, name: str, *_arguments: Any, **_keywords: Any) -> Reply:
        self.asked.append(name)
        if name != "account_info":
            return Reply(ANSWERS[name], 1, "Success")
        self.looks += 1
        return Reply(OTHERS if self.looks in self.others_at else OURS, 1, "Success")


def session_over(terminal: Flickering) -> Session:
    pin = Pin(login=7, server="Ours", trade_mode=0, margin_mode=2)
    return Session(terminal=cast("Terminal", terminal), pin=pin, password=None, lease_number=1)


READS: dict[str, Callable[[Session], Any]] = {
    "instruments": calls.instruments,
    "market": lambda session: calls.market(session, symbols=[], **BOUNDS),
    "deals": lambda session: calls.deals(session, most=10, **BOUNDS),
    "find": lambda session: calls.find(session, magic=42, **BOUNDS),
}


@pytest.mark.parametrize("look", [1, 2])
@pytest.mark.parametrize("read", READS)
def test_a_read_counts_only_if_our_account_was_shown_before_and_after(read: str, look: int) -> None:
    steady = Flickering(others_at=frozenset())
    READS[read](session_over(steady))
    assert steady.looks == 2
    assert (steady.asked[0], steady.asked[-1]) == ("account_info", "account_info")

    with pytest.raises(AccountMismatch, match="shows login 8, expected is 7"):
        READS[read](session_over(Flickering(others_at=frozenset({look}))))


def test_no_order_of_another_account_is_taken_for_ours() -> None:
    submission = sending.Submission(
        request={"magic": 42, "symbol": "EURUSD"},
        side="buy",
        filling=None,
        reference_price="1.1",
        collar_points=1,
        position_id=None,
        close_by_position_id=None,
        submit_by=0.0,
        contract=None,
        **BOUNDS,
    )
    session = session_over(Flickering(others_at=frozenset({1})))
    assert sending.evidence(session, submission) is not None

    with pytest.raises(AccountMismatch):
        sending.submit(session, submission, lambda: pytest.fail("nothing may be announced"))
    assert session.history.deals.records == {}
