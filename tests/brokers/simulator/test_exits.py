"""What the broker closes and charges by itself (facts §6.5, §10.2b)."""

import pytest

from brokers.simulator import constants as mt5
from tests.brokers.simulator.bench import Bench


@pytest.mark.parametrize(
    ("kind", "levels", "at", "reason", "comment"),
    [
        (0, {"sl": 1.095, "tp": 1.105}, ("1.09500", "1.09510"), 4, "[sl 1.09500]"),
        (0, {"sl": 1.095, "tp": 1.105}, ("1.10500", "1.10510"), 5, "[tp 1.10500]"),
        (1, {"sl": 1.105, "tp": 1.095}, ("1.10490", "1.10500"), 4, "[sl 1.10500]"),
        (1, {"sl": 1.105, "tp": 1.095}, ("1.09490", "1.09500"), 5, "[tp 1.09500]"),
    ],
)
def test_a_level_closes_the_position_by_an_order_of_its_own(
    bench: Bench, kind: int, levels: dict[str, float], at: tuple[str, str], reason: int, comment: str
) -> None:
    opened = bench.deal(kind, 0.1, magic=7, **levels)
    bench.tick("EURUSD", *at)
    assert bench.positions() == []
    deal = bench.deals()[-1]
    assert (deal.position_id, deal.entry, deal.reason, deal.comment) == (opened.order, 1, reason, comment)
    assert deal.order != opened.order
    assert bench.past_order(deal.order).reason == reason
    assert deal.magic == 7


def test_brokers_that_write_no_magic_on_their_exits_can_be_played(bench: Bench) -> None:
    bench.terminal.exits.keep_magic = False
    bench.deal(0, 0.1, magic=7, sl=1.095)
    bench.tick("EURUSD", "1.09500", "1.09510")
    assert bench.deals()[-1].magic == 0


def test_an_exit_ends_whole_whatever_the_depth(bench: Bench) -> None:
    bench.deal(mt5.ORDER_TYPE_BUY, 0.4, symbol="US500", sl=4990.0)
    bench.tick("US500", "5000.0", "5000.5")
    bench.deal(mt5.ORDER_TYPE_BUY, 0.4, symbol="US500", sl=4990.0)
    bench.tick("US500", "4990.0", "4990.5")
    assert bench.positions() == []


def test_levels_are_set_replaced_and_removed(bench: Bench) -> None:
    opened = bench.deal(0, 0.1, sl=1.09)
    change = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": opened.order}
    assert bench.send(**change, sl=1.095, tp=1.11).retcode == 10009
    assert bench.send(**change, sl=1.095, tp=1.11).retcode == 10025
    assert bench.send(**change, tp=1.11).retcode == 10009
    assert (bench.position().sl, bench.position().tp) == (0.0, 1.11)
    assert bench.send(**change, sl=1.2).retcode == 10016
    assert bench.send(**{**change, "position": 1}, sl=1.0).retcode == 10036


def test_stop_out_closes_the_worst_loser_first_and_stops_when_the_level_is_back(bench: Bench) -> None:
    bench.deal(mt5.ORDER_TYPE_BUY, 5.0)
    bench.tick("EURUSD", "1.09000", "1.09010")
    worst = bench.positions()[0].ticket
    bench.deal(mt5.ORDER_TYPE_BUY, 1.0)
    bench.tick("EURUSD", "0.93490", "0.93500")
    outs = [deal for deal in bench.deals() if deal.entry == mt5.DEAL_ENTRY_OUT]
    assert sum(deal.volume for deal in outs) == 5.0
    assert {(d.position_id, d.reason, d.comment[:3]) for d in outs} == {(worst, mt5.DEAL_REASON_SO, "so ")}
    assert bench.position().volume == 1.0


def test_swap_is_charged_at_midnight_three_times_on_wednesday_and_leaves_with_the_close(bench: Bench) -> None:
    bench.wait(0)
    opened = bench.deal(mt5.ORDER_TYPE_BUY, 1.0)
    bench.wait(86_400)  # Monday's night
    assert bench.position().swap == -7.2
    bench.wait(86_400)
    bench.wait(86_400)  # Wednesday's
    assert bench.position().swap == -7.2 * 5
    bench.deal(mt5.ORDER_TYPE_SELL, 0.5, position=opened.order)
    assert bench.deals()[-1].swap == -18.0
    assert bench.position().swap == -18.0
