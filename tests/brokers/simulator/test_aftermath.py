"""What an order shows and costs afterwards; the books themselves are always exact (facts §10.3)."""

from decimal import Decimal

import pytest

from brokers.simulator import constants as mt5
from brokers.simulator.faults import CommentRewritten, ExitMagicLost, HistoryLag, LateCommission, ListGap, Placed
from brokers.simulator.records import Deal, Position
from tests.brokers.simulator.bench import FAR, Bench


def test_in_a_list_gap_neither_order_nor_position_is_listed_but_history_has_them(bench: Bench) -> None:
    other = bench.deal(0, 0.1)
    result = bench.deal(0, 0.1, fault=ListGap(ms=300))
    assert [position.ticket for position in bench.positions()] == [other.order]
    assert (bench.queries.positions_get(ticket=result.order), bench.queries.positions_total()) == ([], 1)
    assert bench.past_order(result.order).state == mt5.ORDER_STATE_FILLED
    assert len(bench.store.select(Position)) == 2
    bench.wait(0.3)
    assert bench.queries.positions_total() == 2


def test_a_working_order_is_listed_late_in_a_gap(bench: Bench) -> None:
    placed = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.09)
    late = bench.send(ListGap(ms=300), action=5, symbol="EURUSD", type=2, volume=0.1, price=1.09, type_filling=2)
    assert [order.ticket for order in bench.orders()] == [placed.order]
    assert bench.queries.orders_total() == 1
    bench.wait(0.3)
    assert [order.ticket for order in bench.orders()] == [placed.order, late.order]


def test_a_lagging_history_omits_the_newest_while_positions_are_right(bench: Bench) -> None:
    result = bench.deal(0, 0.1, fault=HistoryLag(ms=500))
    assert bench.position().ticket == result.order
    assert bench.deals() == []
    bench.wait(0.5)
    assert [deal.order for deal in bench.deals()] == [result.order]


def test_a_query_may_lag_by_itself_and_then_omits_exits_and_money_as_well(bench: Bench) -> None:
    bench.deal(0, 0.1, sl=1.09)
    bench.wait(10)
    bench.tick("EURUSD", "1.09000", "1.09010")
    span = (bench.now - FAR, bench.now + FAR)
    with bench.terminal.views.narrowed([HistoryLag(ms=5000)]):
        assert [deal.entry for deal in bench.deals()] == [mt5.DEAL_ENTRY_IN]
        assert bench.queries.history_deals_total(*span) == 2
    assert bench.queries.history_deals_total(*span) == 3


def test_a_clock_that_steps_back_reveals_what_lagged(bench: Bench) -> None:
    bench.deal(0, 0.1, fault=HistoryLag(ms=500))
    bench.terminal.clock.shift_msc -= 3_600_000
    assert len(bench.deals()) == 1


@pytest.mark.parametrize(
    ("fault", "stored"),
    [
        (CommentRewritten(), "trade-0123456789"),
        (CommentRewritten(cut=3), "tra"),
        (CommentRewritten(text="Request executed"), "Request executed"),
    ],
)
def test_the_broker_stores_its_own_version_of_a_comment(
    bench: Bench, fault: CommentRewritten, stored: str
) -> None:
    result = bench.deal(0, 0.1, fault=fault, comment="trade-0123456789abcdef", magic=9)
    records = (bench.position(), bench.past_order(result.order), *bench.deals())
    assert {record.comment for record in records} == {stored}
    assert {record.magic for record in records} == {9}


@pytest.mark.parametrize("linked", [True, False])
def test_a_late_commission_is_a_deal_of_its_own(bench: Bench, linked: bool) -> None:  # noqa: FBT001
    result = bench.deal(0, 1.0, fault=LateCommission(after_ms=2000, linked=linked), magic=5)
    (opening,) = bench.deals()
    assert (opening.commission, bench.terminal.books.balance) == (0.0, Decimal(100_000))
    bench.terminal.books.load()  # owed through a restart
    bench.wait(2.0)
    charge = bench.history()[-1]
    assert (charge.type, charge.commission, charge.volume) == (mt5.DEAL_TYPE_COMMISSION, -3.5, 0.0)
    named = (charge.order, charge.position_id, charge.magic, charge.symbol)
    assert named == ((result.order, result.order, 5, "EURUSD") if linked else (0, 0, 0, ""))
    assert bench.terminal.books.balance == Decimal("99996.5")
    bench.wait(10.0)
    assert len(bench.history()) == 3


def test_each_deal_of_a_late_order_is_charged_once(bench: Bench) -> None:
    bench.deal(0, 0.4, faults=[Placed(after_ms=100, parts=2), LateCommission(after_ms=100)])
    bench.wait(0.1)
    bench.wait(0.1)
    charges = [deal for deal in bench.history() if deal.type == mt5.DEAL_TYPE_COMMISSION]
    assert [charge.commission for charge in charges] == [-0.7, -0.7]
    assert bench.terminal.store.opening_counts() == {0: 1}


def test_an_exit_may_lose_the_magic_of_one_position_and_keep_that_of_another(bench: Bench) -> None:
    bench.deal(0, 0.1, magic=7, sl=1.095, fault=ExitMagicLost())
    bench.deal(0, 0.1, magic=8, sl=1.095)
    bench.tick("EURUSD", "1.09500", "1.09510")
    exits = [deal for deal in bench.store.select(Deal) if deal.entry == mt5.DEAL_ENTRY_OUT]
    assert sorted(deal.magic for deal in exits) == [0, 8]


def test_on_netting_the_latest_order_says_whether_exits_keep_the_magic(netting: Bench) -> None:
    netting.deal(0, 0.1, magic=7, fault=ExitMagicLost())
    netting.deal(0, 0.1, magic=8, sl=1.095)
    netting.tick("EURUSD", "1.09500", "1.09510")
    assert netting.deals()[-1].magic == 8
