"""The broker's books perturbed in every way that a cause names: each is found, named and acted on by its tier.

Nothing follows the account but the reconciliation. A failure tells what was done, which is the same every time.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from brokers.simulator.faults import DealAmended, ManualClose, MoneyBooked, StopOut, SwapCharged
from brokers.simulator.market import Side as SimulatedSide
from domain.money import ZERO
from domain.reconciliation import Thresholds, Tier, Verdict
from tests.desk import Desk
from tests.reconciling import causes_of, discrepancies_of, reconcile, settle

BID, ASK = "1.10000", "1.10010"
CONTRACT = Decimal(100_000)


@dataclass(kw_only=True)
class Night:
    """What was done to the broker's books, and what a run has to find of it."""

    desk: Desk
    rng: Random
    causes: Counter[str] = field(default_factory=Counter)
    balance: Decimal = ZERO
    credit: Decimal = ZERO
    positions: list[tuple[str, Decimal]] = field(default_factory=list)

    def open_by_hand(self, **levels: Decimal) -> int:
        ticket = self.desk.control.manual_trade("EURUSD", SimulatedSide.BUY, "0.01", **levels)
        self.causes.update(manual_trade=1, commission=1)
        return ticket

    def money(self, kind: str, amount: Decimal, cause: str) -> None:
        self.desk.control.happen(MoneyBooked(money=kind, amount=amount))
        self.causes[cause] += 1

    def cents(self, *, most: int) -> Decimal:
        return Decimal(self.rng.randint(1, most)).scaleb(-2)


def deposit(night: Night) -> None:
    night.money("balance", night.cents(most=100_000), "deposit")


def withdrawal(night: Night) -> None:
    night.money("balance", -night.cents(most=100_000), "withdrawal")


def credit(night: Night) -> None:
    night.money("credit", night.cents(most=50_000), "credit")


def correction(night: Night) -> None:
    night.money("correction", -night.cents(most=50_000), "correction")


def charge(night: Night) -> None:
    night.money("charge", -night.cents(most=5_000), "fee")


def interest(night: Night) -> None:
    night.money("interest", night.cents(most=5_000), "other_money")


def amended_commission(night: Night) -> None:
    night.open_by_hand()
    night.desk.control.happen(DealAmended(commission=-night.cents(most=900)), symbol="EURUSD")


def manual_close(night: Night) -> None:
    ticket = night.open_by_hand()
    night.desk.control.happen(ManualClose(ticket=ticket), symbol="EURUSD")
    night.causes.update(manual_trade=1, commission=1)


def swap(night: Night) -> None:
    ticket = night.open_by_hand()
    night.desk.control.happen(SwapCharged(nights=night.rng.choice((1, 3))))
    night.desk.control.happen(ManualClose(ticket=ticket), symbol="EURUSD")
    night.causes.update(manual_trade=1, commission=1, swap=1)


def stop_loss(night: Night) -> None:
    night.open_by_hand(sl=Decimal("1.09500"))
    night.desk.control.tick("EURUSD", "1.09400", "1.09410")
    night.desk.control.tick("EURUSD", BID, ASK)
    night.causes.update(stop_loss_exit=1, commission=1)


def take_profit(night: Night) -> None:
    night.open_by_hand(tp=Decimal("1.10500"))
    night.desk.control.tick("EURUSD", "1.10600", "1.10610")
    night.desk.control.tick("EURUSD", BID, ASK)
    night.causes.update(take_profit_exit=1, commission=1)


def stop_out(night: Night) -> None:
    ticket = night.open_by_hand()
    night.desk.control.happen(StopOut(ticket=ticket), symbol="EURUSD")
    night.causes.update(stop_out_exit=1, commission=1)


def unrecorded_money(night: Night) -> None:
    amount = night.rng.choice((1, -1)) * night.cents(most=60_000)
    night.desk.control.slip_money(amount)
    night.balance += amount


def unrecorded_credit(night: Night) -> None:
    amount = night.cents(most=60_000)
    night.desk.control.slip_money(amount, credit=True)
    night.credit += amount


def unrecorded_position(night: Night) -> None:
    lots = Decimal(night.rng.randint(1, 20)).scaleb(-2)
    night.desk.control.slip_position("EURUSD", lots)
    night.positions.append(("position_unknown", lots))


def vanished_position(night: Night) -> None:
    night.desk.control.slip_position("EURUSD", "0", ticket=night.open_by_hand())
    night.positions.append(("position_missing", Decimal("0.01")))


def changed_volume(night: Night) -> None:
    night.desk.control.slip_position("EURUSD", "0.04", ticket=night.open_by_hand())
    night.positions.append(("position_volume", Decimal("0.03")))


Perturbation = Callable[[Night], None]
RECORDED: tuple[Perturbation, ...] = (
    *(deposit, withdrawal, credit, correction, charge, interest, amended_commission),
    *(manual_close, swap, stop_loss, take_profit, stop_out),
)
UNRECORDED: tuple[Perturbation, ...] = (
    *(unrecorded_money, unrecorded_credit, unrecorded_position, vanished_position, changed_volume),
)
MIXED_NIGHTS = 8


async def test_every_perturbation_is_found_named_and_acted_on(unfollowed_desk: Desk) -> None:
    desk = unfollowed_desk
    desk.control.hold_market("EURUSD")
    desk.control.tick("EURUSD", BID, ASK)
    await reconcile(desk)

    for number, single in enumerate((*RECORDED, *UNRECORDED)):
        await _one_night(desk, Random(number), [single])
    for seed in range(MIXED_NIGHTS):
        rng = Random(f"mixed {seed}")
        await _one_night(desk, rng, rng.sample((*RECORDED, *UNRECORDED), rng.randint(2, 6)))


async def _one_night(desk: Desk, rng: Random, perturbations: list[Perturbation]) -> None:
    night = Night(desk=desk, rng=rng)
    for perturb in perturbations:
        perturb(night)
    told = ", ".join(each.__name__ for each in perturbations)
    ask = await desk.scalar("SELECT ask FROM quotes WHERE symbol = 'EURUSD'")
    expected = _expected(night, lot=CONTRACT * ask)

    concluded = await reconcile(desk)
    again = await reconcile(desk)

    known = [row for row in await discrepancies_of(desk) if row["first_run_id"] == concluded.run_id]
    found = Counter((row["kind"], row["tier"], row["impact_usd"]) for row in known)
    assert found == expected, told
    assert await causes_of(desk, concluded.run_id) == night.causes, told
    assert concluded.verdict is _verdict(night, expected), told
    assert await causes_of(desk, again.run_id) == {}, told
    await settle(desk)


def _expected(night: Night, *, lot: Decimal) -> Counter[tuple[str, str, Decimal]]:
    """Kind, tier and impact of what no record explains, in the order in which a run looks at it."""
    corrected, found = ZERO, Counter[tuple[str, str, Decimal]]()
    for kind, amount in (("balance", abs(night.balance)), ("credit", abs(night.credit))):
        if not amount:
            continue
        whole = amount + corrected
        tier = Tier.STOP if whole > Thresholds().stop else Tier.REVIEW
        if whole < Thresholds().review:
            tier, corrected = Tier.CORRECT, whole
        found[kind, tier, amount] += 1
    for kind, lots in night.positions:
        found[kind, Tier.STOP, lots * lot] += 1
    return found


def _verdict(night: Night, expected: Counter[tuple[str, str, Decimal]]) -> Verdict:
    tiers = {tier for _, tier, _ in expected}
    if Tier.STOP in tiers:
        return Verdict.STOPPED
    if Tier.REVIEW in tiers:
        return Verdict.REVIEW
    if Tier.CORRECT in tiers:
        return Verdict.CORRECTED
    return Verdict.EXPLAINED if night.causes else Verdict.CLEAN
