"""What is found where and when (facts §2.4, §6.1, §7)."""

from itertools import pairwise
from zoneinfo import ZoneInfo

from brokers.simulator import constants as mt5
from brokers.simulator.clock import ServerClock
from brokers.simulator.structs import TradeDeal
from tests.brokers.simulator.bench import OFFSET_HOURS, START_UTC, Bench


def test_the_first_deal_is_the_deposit_and_belongs_to_no_order(bench: Bench) -> None:
    row, *_ = bench.queries.history_deals_get(bench.now - 10, bench.now)
    deal = TradeDeal(row)
    assert (deal.type, deal.profit, deal.order, deal.position_id, deal.symbol) == (2, 100_000.0, 0, 0, "")


def test_times_are_the_servers_wall_clock_written_as_an_epoch(bench: Bench) -> None:
    bench.deal(0, 0.1)
    (deal,) = bench.deals()
    assert deal.time_msc == int((START_UTC + OFFSET_HOURS * 3600) * 1000)
    assert deal.time == deal.time_msc // 1000


def test_bounds_are_inclusive_and_on_the_server_clock(bench: Bench) -> None:
    bench.wait(100)
    bench.utc += 0.4  # inside the second
    bench.deal(0, 0.1)
    at = bench.now
    deals = bench.queries.history_deals_get
    assert len(deals(at, at)) == 1
    assert bench.queries.history_deals_total(at, at) == 1
    assert deals(at + 1, at + 10) == []
    assert deals(at - 10, at - 1) == []
    # The trap of §7: the newest hours are cut off for who asks up to "now" in UTC.
    assert len(deals(at - 1, int(bench.utc))) == 0


def test_orders_are_found_by_their_done_time_once_they_are_done(bench: Bench) -> None:
    placed = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.09)
    assert bench.queries.history_orders_get(ticket=placed.order) == []
    bench.wait(50)
    bench.send(action=mt5.TRADE_ACTION_REMOVE, order=placed.order)
    history = bench.queries.history_orders_get
    assert history(bench.now - 60, bench.now - 40) == []
    assert [row[0] for row in history(bench.now, bench.now)] == [placed.order]
    assert bench.queries.history_orders_total(bench.now, bench.now) == 1


def test_a_position_finds_its_opening_and_closing_records(bench: Bench) -> None:
    opened = bench.deal(0, 0.1)
    bench.deal(0, 0.1)
    closed = bench.deal(1, 0.1, position=opened.order)
    orders = bench.queries.history_orders_get(position=opened.order)
    assert [row[0] for row in orders] == [opened.order, closed.order]
    deals = [TradeDeal(row) for row in bench.queries.history_deals_get(position=opened.order)]
    assert [deal.entry for deal in deals] == [0, 1]
    assert bench.queries.history_deals_get(ticket=closed.deal)[0][1] == closed.order


def test_tickets_rise_without_being_dense_and_outgrow_32_bits(bench: Bench) -> None:
    tickets = [bench.deal(0, 0.01).order for _ in range(5)]
    gaps = [b - a for a, b in pairwise(tickets)]
    assert tickets[0] > 2**32
    assert min(gaps) >= 1
    assert max(gaps) > 1


def test_a_broker_in_a_zone_moves_its_clock_with_summer_time() -> None:
    athens = ZoneInfo("Europe/Athens")
    winter, summer = 1_774_745_999.0, 1_774_746_000.0  # 29 March 2026, 01:00 UTC
    clocks = [ServerClock(zone=athens, utc_seconds=lambda at=at: at) for at in (winter, summer)]
    assert [clock.now() - int(at) for clock, at in zip(clocks, (winter, summer), strict=True)] == [7200, 10_800]
