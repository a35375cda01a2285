from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from brokers.mt5.clock import ServerClock
from brokers.mt5.outcomes import Unclear, cancel_outcome, command_outcome, submit_outcome
from brokers.mt5.retcodes import RETCODES, Verdict
from brokers.protocol import CommandDone, CommandRefused, CommandUnknown
from domain.orders import Accepted, NotSent, Rejected
from tests.brokers.mt5.test_mapping import WALL, deal, order

CLOCK = ServerClock(ZoneInfo("Europe/Athens"))
SEEN = {"tick": {"bid": 1.0, "ask": 1.1, "time_msc": WALL}, "tick_read_at": 1_768_000_000.0}
NOTHING: dict[str, list[Any]] = {"orders": [], "history_orders": [], "deals": [], "positions": []}


def sent(retcode: int, **fields: Any) -> dict[str, Any]:
    result = {"retcode": retcode, "order": fields.pop("ticket", 7), "deal": 0, "comment": "said so"}
    answer = {"stage": "sent", "result": result, "last_error": [1, "Success"], "order": None, "deals": []}
    return answer | {"found": None, **SEEN} | fields


def outcome(answer: dict[str, Any]) -> object:
    return submit_outcome(answer, symbol="EURUSD", clock=CLOCK)


KINDS: dict[Verdict, type[Accepted | Rejected | Unclear]] = {
    Verdict.DONE: Accepted,
    Verdict.PARTIAL: Accepted,
    Verdict.ACCEPTED: Accepted,
    Verdict.RETRY: Rejected,
    Verdict.WAIT: Rejected,
    Verdict.REJECT: Rejected,
    Verdict.NO_OP: Unclear,
    Verdict.UNKNOWN: Unclear,
}


@pytest.mark.parametrize(("retcode", "judged"), [(code, judged) for code, (_, judged) in RETCODES.items()])
def test_every_retcode_leads_to_the_outcome_of_its_class(retcode: int, judged: Verdict) -> None:
    found = outcome(sent(retcode))
    assert isinstance(found, KINDS[judged])
    assert found.retcode == retcode


@pytest.mark.parametrize("retcode", [0, 10037, 12345])
def test_an_unknown_retcode_is_unclear(retcode: int) -> None:
    assert isinstance(outcome(sent(retcode)), Unclear)


def test_done_without_a_deal_is_accepted_without_fills() -> None:
    accepted = outcome(sent(10009))
    assert isinstance(accepted, Accepted)
    assert (accepted.broker_order_id, accepted.order, accepted.fills) == (7, None, ())


def test_accepted_without_any_ticket_is_unclear() -> None:
    assert isinstance(outcome(sent(10008, ticket=0)), Unclear)
    found = outcome(sent(10008, ticket=0, order=order(ticket=8)))
    assert isinstance(found, Accepted)
    assert found.broker_order_id == 8


@pytest.mark.parametrize(
    "evidence",
    [
        {"orders": [order()]},
        {"deals": [deal()]},
        {"positions": [{"identifier": 1}]},
        {"history_orders": [order(state=4)]},
    ],
)
def test_a_refusal_that_the_account_contradicts_is_unclear(evidence: dict[str, Any]) -> None:
    assert isinstance(outcome(sent(10006, found=NOTHING | evidence)), Unclear)


def test_a_refused_order_on_record_confirms_the_refusal() -> None:
    refused = NOTHING | {"history_orders": [order(state=5)]}
    assert outcome(sent(10006, found=refused)) == Rejected(reason="reject", retcode=10006)


def test_a_refusal_that_could_not_be_verified_is_unclear() -> None:
    assert isinstance(outcome(sent(10006, unread="orders_get: IPC recv failed (-10002)")), Unclear)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(-2, NotSent), (-8, NotSent), (-10004, NotSent), (-10002, Unclear), (-10001, Unclear), (-1, Unclear)],
)
def test_silence_is_judged_by_the_last_error(code: int, kind: type) -> None:
    answer = sent(0) | {"result": None, "last_error": [code, "words"]}
    assert type(outcome(answer)) is kind


def test_an_error_after_the_send_is_unclear() -> None:
    assert isinstance(outcome({"stage": "lost", "failure": "ValueError: odd"}), Unclear)


def test_an_earlier_send_is_adopted_by_whatever_shows_it() -> None:
    shown = {"stage": "found", **NOTHING, **SEEN}
    by_order = outcome(shown | {"history_orders": [order(ticket=5, state=4)], "deals": [deal(order=5)]})
    by_deal = outcome(shown | {"deals": [deal(order=5)]})
    by_position = outcome(shown | {"positions": [{"identifier": 5}]})
    for adopted in (by_order, by_deal, by_position):
        assert isinstance(adopted, Accepted)
        assert adopted.broker_order_id == 5
    assert isinstance(by_deal, Accepted)
    assert by_deal.fills[0].volume == Decimal("0.1")


def test_an_earlier_refusal_is_a_refusal_and_two_orders_are_a_riddle() -> None:
    shown = {"stage": "found", **NOTHING, **SEEN}
    assert isinstance(outcome(shown | {"history_orders": [order(state=5)]}), Rejected)
    assert isinstance(outcome(shown | {"orders": [order(ticket=1), order(ticket=2)]}), Unclear)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (sent(10009), CommandDone),
        (sent(10025), CommandDone),
        (sent(10008), CommandUnknown),
        (sent(10012), CommandUnknown),
        (sent(10016), CommandRefused),
        (sent(10029), CommandRefused),
        ({"stage": "gone", "order": None}, CommandRefused),
        (sent(0) | {"result": None, "last_error": [-10002, ""]}, CommandUnknown),
        (sent(0) | {"result": None, "last_error": [-2, ""]}, CommandRefused),
    ],
)
def test_a_modification_is_done_only_if_the_broker_said_so(answer: dict[str, Any], kind: type) -> None:
    assert type(command_outcome(answer)) is kind


@pytest.mark.parametrize("retcode", [10009, 10012, 10035])
def test_what_the_order_became_outweighs_the_answer_to_the_cancel(retcode: int) -> None:
    cancelled = sent(retcode, active=False) | {"order": order(state=2)}
    filled = sent(retcode, active=False) | {"order": order(state=4)}
    assert cancel_outcome(cancelled) == CommandDone(retcode=retcode)
    assert cancel_outcome(filled) == CommandRefused(reason="order_filled", retcode=retcode)


def test_an_order_in_no_list_may_be_between_two() -> None:
    assert isinstance(cancel_outcome({"stage": "gone", "order": None}), CommandUnknown)
