"""The gates without an order behind them: what one would meet, and how far every limit is used."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Query

from api.connections import Connections
from api.dependencies import CallerDep, ConnectionsDep, PrincipalDep
from api.errors import invalid
from api.fields import DecimalText, Slug
from api.intents import ExecuteBody, Receipt, faults, intent_of
from api.placing import account_of, admit
from api.trades import scope_of
from api.views import Denial, View
from db.intake import IntakeQuestion
from db.jsons import plain
from db.risk_context import read_risk_context
from db.risk_standing import TradingUser, probe, trading_users
from domain.controls import ControlScope
from domain.gates_limits import Standing, standings
from domain.limits import LimitName, LimitUnit
from domain.money import Currency
from domain.orders import OrderIntent
from domain.risk import Denied, evaluate
from domain.risk_context import RiskContext
from domain.sizing import Approved, size

router = APIRouter(prefix="/api/trading", tags=["trading"])


class LimitUse(View):
    """A limit and how far it is used: `left` is `value` less `used` and less what the order would add.

    Money is in `currency`. `symbol` is set where a limit is counted for each symbol.
    """

    name: LimitName
    scope: ControlScope
    symbol: str | None
    value: DecimalText
    used: DecimalText
    added: DecimalText
    left: DecimalText
    unit: LimitUnit
    currency: str | None


class Claim(View):
    """What the order would hold of the limits, in `currency`, at the worst price that its collar lets through."""

    volume: DecimalText
    loss: DecimalText
    notional: DecimalText
    margin: DecimalText
    currency: str
    reference_price: DecimalText
    collar_points: int
    rates: dict[str, DecimalText]


class Preview(View):
    """The answer of the gates now; the same order a moment later may meet another market.

    `claim` is null where a fact is missing without which it cannot be said; the denials then name it.
    """

    passes: bool
    account: str
    denials: list[Denial]
    claim: Claim | None
    limits: list[LimitUse]
    at: datetime


class Margin(View):
    """`free` is what the broker shows less what is held for orders; null while the account was never read."""

    free: DecimalText
    held: DecimalText
    read_at: datetime
    age_ms: int


class AccountRisk(View):
    """Where one user stands on one account; limits of the scope account count everybody on it."""

    account: str
    currency: str
    user_id: UUID
    username: str
    limits: list[LimitUse]
    margin: Margin | None
    unvalued: list[str]
    at: datetime


class Risk(View):
    accounts: list[AccountRisk]


@router.post("/preview")
async def preview(body: ExecuteBody, connected: ConnectionsDep, who: PrincipalDep) -> Preview:
    """Ask every gate about an order without sending it: the body is that of execute, and nothing is stored."""
    now = datetime.now(UTC)
    question = IntakeQuestion(
        user_id=who.user_id,
        credential=who.credential,
        trade_id=uuid4(),
        account=body.account,
        symbol=body.symbol,
        position_id=body.position_id,
    )
    intake = await admit(connected, who, question)
    account = account_of(intake, question)
    found = list(faults(body, instrument=intake.instrument, position=intake.position, now=now))
    if found:
        raise invalid(found)
    receipt = Receipt(
        trade_id=question.trade_id,
        user_id=who.user_id,
        account=account,
        client_order_id="preview",
        body_hash="",
        received_at=now,
    )
    intent = intent_of(body, receipt)
    context = await _context(connected, intent, now=now)
    answer = evaluate(intent, context)
    sized = _sized(intent, context)
    reducing = intent.reducing
    return Preview(
        passes=isinstance(answer, Approved),
        account=account.slug,
        denials=_denials(answer),
        claim=None if sized is None else _claim(sized),
        limits=[]
        if reducing or sized is None
        else [_use(each, symbol=intent.symbol) for each in standings(context, sized.amounts)],
        at=now,
    )


@router.get("/risk")
async def risk(
    connected: ConnectionsDep, caller: CallerDep, account: Annotated[Slug | None, Query()] = None
) -> Risk:
    """How far every limit is used now, on each of your accounts; for all users to the roles risk and admin."""
    users = await connected.books.read(
        lambda connection: trading_users(connection, user_id=scope_of(caller), account=account)
    )
    return Risk(accounts=[await _account_risk(connected, each) for each in users])


async def _account_risk(connected: Connections, who: TradingUser) -> AccountRisk:
    now = datetime.now(UTC)
    # What is counted for each symbol is asked for each; the rest is the same whatever the symbol.
    contexts = {
        symbol: await _context(connected, probe(who, symbol, now=now), now=now) for symbol in who.symbols or ("",)
    }
    first = next(iter(contexts.values()))
    lines = [
        _use(standing, symbol=symbol)
        for symbol, context in contexts.items()
        for standing in standings(context, None)
        if standing.limit.name is LimitName.POSITION_SIZE or context is first
    ]
    held = sum((u.held_margin for u in first.usages if u.scope is ControlScope.ACCOUNT), Decimal(0))
    account = first.account
    return AccountRisk(
        account=who.account,
        currency=who.currency,
        user_id=who.user_id,
        username=who.username,
        limits=lines,
        margin=None
        if account is None
        else Margin(
            free=account.margin_free - held,
            held=held,
            read_at=account.read_at,
            age_ms=(now - account.read_at) // timedelta(milliseconds=1),
        ),
        unvalued=list(first.unvalued),
        at=now,
    )


async def _context(connected: Connections, intent: OrderIntent, *, now: datetime) -> RiskContext:
    return await connected.books.read(
        lambda connection: read_risk_context(connection, intent, now=now, data_age_max=connected.data_age_max)
    )


def _sized(intent: OrderIntent, context: RiskContext) -> Approved | None:
    if context.account is None or context.instrument is None or context.quote is None:
        return None
    sized = size(intent, context, context.account, context.instrument, context.quote)
    return sized if isinstance(sized, Approved) else None


def _denials(answer: Approved | Denied) -> list[Denial]:
    denials: Iterable[object] = answer.denials if isinstance(answer, Denied) else ()
    return [Denial.model_validate(plain(denial)) for denial in denials]


def _claim(sized: Approved) -> Claim:
    return Claim(
        **vars(sized.amounts),
        currency=sized.currency,
        reference_price=sized.reference_price,
        collar_points=sized.collar_points,
        rates=sized.rates,
    )


def _use(standing: Standing, *, symbol: str) -> LimitUse:
    limit = standing.limit
    currency: Currency | None = limit.currency
    return LimitUse(
        name=limit.name,
        scope=limit.scope,
        symbol=symbol or None if limit.name is LimitName.POSITION_SIZE else None,
        value=limit.value,
        used=standing.used,
        added=standing.added,
        left=standing.left,
        unit=limit.unit,
        currency=currency,
    )
