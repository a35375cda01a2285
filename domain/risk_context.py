"""The facts that the gates decide on."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from domain.controls import Control
from domain.exposure import CurrencyPair
from domain.instruments import Instrument
from domain.limits import Limit, LimitName, Repeats, Usage
from domain.money import Currency
from domain.orders import Quote
from domain.positions import Holding, MarginMode
from domain.reservations import Amounts
from domain.watch import FindingKind, Pending


@dataclass(frozen=True, kw_only=True)
class AccountState:
    """`unreconciled_since` is when a sender took the account up whose books no run has compared since."""

    currency: Currency
    margin_mode: MarginMode
    enabled: bool
    user_enabled: bool
    leverage: int
    margin_free: Decimal
    read_at: datetime
    unreconciled_since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Why nothing can be sent on the account now, and what mends it."""

    kind: FindingKind
    message: str


@dataclass(frozen=True, kw_only=True)
class RiskContext:
    """Everything a decision stands on, read under the locks.

    `conditions` keep the account from trading now; `contract_changes` are those of the symbol that nobody has
    accepted yet.
    `repeats` are identical orders of the same user before this one.
    `holding` is the position that the order names, `partner` the one by which it closes that; `pairs` are fresh;
    `unvalued` are the symbols of open positions that no rate or instrument puts a number on.
    """

    now: datetime
    data_age_max: timedelta
    controls: tuple[Control, ...]
    account: AccountState | None
    conditions: tuple[Condition, ...]
    instrument: Instrument | None
    instrument_listed: bool
    contract_changes: tuple[Pending, ...]
    instrument_allowed: bool
    quote: Quote | None
    pairs: tuple[CurrencyPair, ...]
    limits: tuple[Limit, ...]
    usages: tuple[Usage, ...]
    unvalued: tuple[str, ...]
    holding: Holding | None
    partner: Holding | None
    repeats: Repeats

    @property
    def tells_repeats(self) -> bool:
        """Whether a limit asks when an order like this one was sent last."""
        return any(limit.name is LimitName.DUPLICATE_WINDOW and limit.value > 0 for limit in self.limits)

    def after(self, claim: Amounts) -> "RiskContext":
        """The same facts for the next order of the user in the symbol, once one that claims this is held."""
        hedging = self.account is not None and self.account.margin_mode is MarginMode.HEDGING
        return replace(self, usages=tuple(usage.after(claim, new_position=hedging) for usage in self.usages))
