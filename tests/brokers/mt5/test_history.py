"""Kept history against an account whose history grows anywhere, also in the past."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from brokers.mt5.fill_windows import DEALS_MOST, Windows
from brokers.mt5.history import Shelf

SINCE, UNTIL = 1_000, 1_000_000


class Account:
    def __init__(self) -> None:
        self.deals: list[dict[str, int]] = []
        self.reads = 0

    def add(self, *, at: int, magic: int = 1) -> None:
        self.deals.append({"ticket": len(self.deals) + 1, "time": at, "magic": magic, "order": 0})

    def ask(self, call: str, since: int, until: int) -> Any:
        inside = [deal for deal in self.deals if since <= deal["time"] <= until]
        if call == "history_deals_total":
            return len(inside)
        self.reads += 1
        return inside


def shelf() -> Shelf:
    return Shelf(
        total_call="history_deals_total",
        get_call="history_deals_get",
        time_field="time",
        group_fields=("magic",),
    )


times = st.lists(st.integers(min_value=SINCE, max_value=UNTIL), max_size=6)


@given(st.lists(times, max_size=8))
def test_the_kept_records_are_the_accounts_wherever_new_ones_appear(batches: list[list[int]]) -> None:
    account, kept = Account(), shelf()
    for batch in batches:
        for at in batch:
            account.add(at=at)
        kept.refresh(account.ask, since=SINCE, until=UNTIL)
        assert set(kept.records) == {deal["ticket"] for deal in account.deals}
        assert len(kept.where("magic", 1)) == len(account.deals)


def test_an_unchanged_history_is_counted_and_not_read() -> None:
    account, kept = Account(), shelf()
    account.add(at=5_000, magic=9)
    for _ in range(10):
        kept.refresh(account.ask, since=SINCE, until=UNTIL)
    assert account.reads == 1
    assert [deal["ticket"] for deal in kept.where("magic", 9)] == [1]


def test_a_search_that_begins_earlier_reads_what_was_not_kept() -> None:
    account, kept = Account(), shelf()
    account.add(at=1_500)
    account.add(at=5_000)
    kept.refresh(account.ask, since=4_000, until=UNTIL)
    assert set(kept.records) == {2}
    kept.refresh(account.ask, since=SINCE, until=UNTIL)
    assert set(kept.records) == {1, 2}


@given(
    st.lists(st.integers(min_value=0, max_value=40), max_size=3000), st.integers(min_value=41, max_value=10_000)
)
def test_windows_read_every_deal_however_they_crowd(times: list[int], until: int) -> None:
    account = Account()
    for at in times:
        account.add(at=at)
    windows = Windows(0, until)
    while (window := windows.next()) is not None:
        since, end = window["since"], window["until"]
        count = account.ask("history_deals_total", since, end)
        crowded = count > DEALS_MOST and end - since > 1
        windows.put({"count": count} if crowded else {"deals": account.ask("history_deals_get", since, end)})
    assert sorted(deal["ticket"] for deal in windows.deals) == [deal["ticket"] for deal in account.deals]
