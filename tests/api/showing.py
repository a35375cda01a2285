"""A broker in memory that shows what the tests say it has, on the account that nobody's orders go to."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from brokers.protocol import AccountReading, MarketReading
from domain.errors import BrokerUnavailable
from domain.fills import Fill
from domain.money import ZERO, Currency
from domain.orders import BrokerOrder
from domain.positions import BrokerPosition, MarginMode
from domain.watch import Permissions


@dataclass(kw_only=True)
class ShownBroker:
    """While it is `away`, no query is answered."""

    balance: Decimal = Decimal(100_000)
    credit: Decimal = ZERO
    positions: tuple[BrokerPosition, ...] = ()
    orders: tuple[BrokerOrder, ...] = ()
    records: tuple[Fill, ...] = ()
    away: bool = False

    async def read_market(self, symbols: tuple[str, ...], *, deals_since: datetime) -> MarketReading:
        self._answer()
        floating = sum((position.profit + position.swap for position in self.positions), ZERO)
        equity = self.balance + self.credit + floating
        account = AccountReading(
            login=1,
            server="Test-Server",
            company="Test",
            currency=Currency("USD"),
            margin_mode=MarginMode.NETTING,
            trade_mode="demo",
            leverage=100,
            permissions=Permissions(
                connected=True,
                algo_trading=True,
                python_trading=True,
                account_trading=True,
                expert_trading=True,
            ),
            balance=self.balance,
            credit=self.credit,
            equity=equity,
            margin=ZERO,
            margin_free=equity,
            read_at=datetime.now(UTC),
        )
        return MarketReading(
            account=account,
            quotes=(),
            positions=self.positions,
            orders=self.orders,
            deal_count=len(self.records),
        )

    async def read_fills(self, since: datetime) -> tuple[Fill, ...]:
        self._answer()
        return self.records

    async def read_position_fills(self, position_id: int) -> tuple[Fill, ...]:
        self._answer()
        return tuple(fill for fill in self.records if fill.position_id == position_id)

    def _answer(self) -> None:
        if self.away:
            raise BrokerUnavailable("the terminal does not answer")
