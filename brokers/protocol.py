"""What the pipeline asks of a broker. The adapter in `brokers/mt5` serves it over any terminal.

1. A query that fails raises `BrokerUnavailable`, one that another account answers `BrokerMismatch`, and one by a
   clock that is not ours `ClockMismatch`; an empty answer always means "none".
2. `submit` sends at most once per call and never raises for an outcome: what it does not know is `Unresolved`.
3. Times are UTC, money and prices exact.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from domain.fills import Fill
from domain.instruments import Instrument
from domain.money import Currency
from domain.orders import BrokerOrder, Changes, OrderRequest, Quote, SubmitOutcome
from domain.positions import BrokerPosition, MarginMode
from domain.watch import Permissions


@dataclass(frozen=True, kw_only=True)
class AccountReading:
    """The account as the terminal shows it at `read_at`."""

    login: int
    server: str
    company: str
    currency: Currency
    margin_mode: MarginMode
    trade_mode: str
    leverage: int
    permissions: Permissions
    balance: Decimal
    credit: Decimal
    equity: Decimal
    margin: Decimal
    margin_free: Decimal
    read_at: datetime


@dataclass(frozen=True, kw_only=True)
class MarketReading:
    """One look at everything that changes: taken in one call, so that its parts belong together.

    `deal_count` counts the records in the window that began at `deals_since`; a change of it is the sign to
    read them.
    """

    account: AccountReading
    quotes: tuple[Quote, ...]
    positions: tuple[BrokerPosition, ...]
    orders: tuple[BrokerOrder, ...]
    deal_count: int


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Everything under one magic number, from all four lists; `in_sync` says that the history can be trusted.

    `deal_count` counts all records of the account's history, whatever their number.
    A lookup exists only if each of the four queries answered; a failed one raises instead.
    """

    magic: int
    orders: tuple[BrokerOrder, ...]
    positions: tuple[BrokerPosition, ...]
    history_orders: tuple[BrokerOrder, ...]
    fills: tuple[Fill, ...]
    in_sync: bool
    deal_count: int
    since: datetime
    read_at: datetime


@dataclass(frozen=True, kw_only=True)
class CommandDone:
    """A cancel or modification that the broker took, or found already in effect."""

    retcode: int | None


@dataclass(frozen=True, kw_only=True)
class CommandRefused:
    reason: str
    retcode: int | None


@dataclass(frozen=True, kw_only=True)
class CommandUnknown:
    """No answer that proves anything: read the order and decide again; repeating is harmless."""

    reason: str
    retcode: int | None


CommandOutcome = CommandDone | CommandRefused | CommandUnknown


class Broker(Protocol):
    async def connect(self) -> AccountReading:
        """Attach to the terminal and check that it shows the configured account.

        Raises BrokerUnavailable, or BrokerMismatch if login, server, or margin mode differ.
        """

    async def close(self) -> None:
        """End the process that talks to the terminal, and wait until it is gone."""

    async def retire_sender(self) -> datetime:
        """Kill and reap the process that talks to the terminal; the instant when it was proven dead."""

    async def read_account(self) -> AccountReading: ...

    async def read_instruments(self) -> tuple[Instrument, ...]: ...

    async def read_market(self, symbols: tuple[str, ...], *, deals_since: datetime) -> MarketReading: ...

    async def read_fills(self, since: datetime) -> tuple[Fill, ...]:
        """Every record from `since` to the newest, whatever its magic."""

    async def read_position_fills(self, position_id: int) -> tuple[Fill, ...]:
        """Every record of one position, however old."""

    async def find(self, magic: int, *, since: datetime) -> Lookup: ...

    async def submit(self, order: OrderRequest) -> SubmitOutcome: ...

    async def cancel(self, broker_order_id: int) -> CommandOutcome: ...

    async def modify_order(self, broker_order_id: int, changes: Changes) -> CommandOutcome: ...

    async def modify_position(self, position_id: int, changes: Changes) -> CommandOutcome: ...
