"""One position per symbol (facts §6.4)."""

from brokers.simulator import constants as mt5
from tests.brokers.simulator.bench import Bench


def test_the_same_side_adds_and_averages(netting: Bench) -> None:
    first = netting.deal(mt5.ORDER_TYPE_BUY, 0.1, magic=1, sl=1.09)
    netting.tick("EURUSD", "1.10100", "1.10110")
    netting.deal(mt5.ORDER_TYPE_BUY, 0.3, magic=2)
    position = netting.position()
    assert (position.ticket, position.volume, position.magic) == (first.order, 0.4, 2)
    assert position.price_open == 1.10085
    assert position.sl == 0.0  # the latest order's levels replace the position's


def test_the_opposite_side_reduces_then_closes(netting: Bench) -> None:
    netting.deal(mt5.ORDER_TYPE_BUY, 0.3)
    netting.deal(mt5.ORDER_TYPE_SELL, 0.1)
    assert netting.position().volume == 0.2
    netting.deal(mt5.ORDER_TYPE_SELL, 0.2)
    assert netting.positions() == []
    assert [d.entry for d in netting.deals()] == [0, 1, 1]


def test_a_reversal_is_one_inout_deal_that_keeps_the_identifier(netting: Bench) -> None:
    opened = netting.deal(mt5.ORDER_TYPE_BUY, 0.2, magic=1)
    netting.tick("EURUSD", "1.10110", "1.10120")
    turned = netting.deal(mt5.ORDER_TYPE_SELL, 0.5, magic=2)
    deal = netting.deals()[-1]
    assert (deal.entry, deal.volume, deal.position_id, deal.profit) == (2, 0.5, opened.order, 20.0)
    position = netting.position()
    assert (position.identifier, position.ticket, position.type) == (opened.order, turned.order, 1)
    assert (position.volume, position.price_open, position.magic) == (0.3, 1.1011, 2)


def test_only_what_outgrows_the_opposite_position_needs_margin(netting: Bench) -> None:
    opened = netting.deal(mt5.ORDER_TYPE_BUY, 10.0)
    for _ in range(5):
        netting.tick("EURUSD", "1.10000", "1.10010")
        netting.deal(mt5.ORDER_TYPE_BUY, 10.0)
    netting.tick("EURUSD", "1.10000", "1.10010")
    assert netting.deal(mt5.ORDER_TYPE_BUY, 40.0).retcode == 10019
    assert netting.deal(mt5.ORDER_TYPE_SELL, 10.0, position=opened.order).retcode == 10009


def test_close_by_is_for_hedging_only(netting: Bench) -> None:
    result = netting.send(action=mt5.TRADE_ACTION_CLOSE_BY, position=1, position_by=2)
    assert result.retcode == 10035
