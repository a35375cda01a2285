"""What is compared: the same market order carried out in several ways."""

from dataclasses import dataclass
from typing import Protocol

from domain.money import Lots
from domain.orders import Side


class BenchFailed(Exception):
    """Something did not happen as it must, so that its time would say nothing."""


@dataclass(frozen=True, kw_only=True)
class MarketOrder:
    """`position_id` names the position that the order closes."""

    client_order_id: str
    symbol: str
    side: Side
    volume: Lots
    position_id: int | None = None


class Way(Protocol):
    """One way to carry an order from its receipt to filled, booked and settled."""

    name: str

    async def place(self, order: MarketOrder) -> int:
        """Return the broker's number of the order once it is filled and settled; BenchFailed if it is not."""

    async def open_positions(self) -> int:
        """How many positions the books show on the account."""

    async def begin_turn(self) -> None:
        """Wait until the books have fresh quotes; what runs beside the orders starts here."""

    async def end_turn(self) -> None: ...
