"""The money of a fill as ledger entries: what the account gained on one side, its causes on the other.

1. The entries of one fill sum to zero.
2. A correction is a new event that reverses the old one; nothing is changed in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID, uuid5

from domain.attribution import Allocation
from domain.fills import Fill, FillKind
from domain.money import ZERO

CASH = "broker_cash"
CREDIT = "broker_credit"
# Against what a difference is entered that no record explains, and what was there before the first record.
UNEXPLAINED = "unexplained"
OPENING = "opening_balance"

_MONEY_ACCOUNTS = {
    FillKind.BALANCE: "external_money",
    FillKind.CREDIT: CREDIT,
    FillKind.CHARGE: "charges",
    FillKind.CORRECTION: "corrections",
    FillKind.BONUS: "bonuses",
    FillKind.COMMISSION: "commission",
    FillKind.INTEREST: "interest",
    FillKind.DIVIDEND: "dividends",
    FillKind.TAX: "taxes",
    FillKind.CANCELLED: "corrections",
    FillKind.OTHER: "other_money",
    FillKind.TRADE: "trading_profit",
}


@dataclass(frozen=True, kw_only=True)
class LedgerLine:
    """One line: `account` is the code of a ledger account, the trade's user owns it where there is a trade."""

    account: str
    trade_id: UUID | None
    amount: Decimal
    description: str


def event_id(account_id: UUID, ticket: int, revision: int) -> UUID:
    """The id of a fill's ledger event: the same fill always has the same one."""
    return uuid5(account_id, f"fill:{ticket}:{revision}")


def reversal_id(account_id: UUID, ticket: int, revision: int) -> UUID:
    return uuid5(account_id, f"fill:{ticket}:{revision}:reversed")


def voided_id(account_id: UUID, ticket: int, revision: int) -> UUID:
    """The id of the event that keeps in the account what a cancelled fill had brought."""
    return uuid5(account_id, f"fill:{ticket}:{revision}:voided")


def voided(fill: Fill, moved: Decimal) -> tuple[LedgerLine, ...]:
    """What a cancelled fill had moved stays in the account until a correction of its own takes it back."""
    if moved == 0:
        return ()
    what = f"of cancelled fill {fill.ticket} {fill.symbol}"
    return (
        LedgerLine(account=CASH, trade_id=None, amount=moved, description=f"cash {what}"),
        LedgerLine(
            account=_MONEY_ACCOUNTS[FillKind.CORRECTION],
            trade_id=None,
            amount=-moved,
            description=f"correction to come {what}",
        ),
    )


def entries(fill: Fill, allocations: Sequence[Allocation]) -> tuple[LedgerLine, ...]:
    """The lines of a fill, none for one without money. Each line is what the named account gains."""
    what = f"{fill.kind} {fill.ticket}" if fill.kind is not FillKind.TRADE else f"fill {fill.ticket} {fill.symbol}"
    causes = [
        LedgerLine(
            account=account, trade_id=allocation.trade_id, amount=-amount, description=f"{account} of {what}"
        )
        for allocation in allocations
        for account, amount in (
            (_MONEY_ACCOUNTS[fill.kind], allocation.profit),
            ("commission", allocation.commission),
            ("swap", allocation.swap),
            ("fees", allocation.fee),
        )
        if amount != 0
    ]
    cash = -sum((line.amount for line in causes), ZERO)
    assert cash == fill.cash, "the causes of a fill's money add up to it"
    if not causes:
        return ()
    if cash == 0:
        return tuple(causes)
    return (LedgerLine(account=CASH, trade_id=None, amount=cash, description=f"cash of {what}"), *causes)
