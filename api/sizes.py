"""The volume for what may be lost at a stop."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from api.dependencies import ConnectionsDep, PrincipalDep
from api.errors import FieldFault, invalid
from api.fields import INT_MAX, DecimalText, PositiveDecimal, Slug, Symbol
from api.placing import account_of, admit
from api.views import View, age_ms
from db.intake import IntakeQuestion
from db.position_sizes import SizeFacts, read_size_facts
from domain.instruments import Instrument
from domain.money import Price
from domain.orders import Quote, Side
from domain.position_sizes import share_of, volume_for

router = APIRouter(prefix="/api/trading", tags=["trading"])


class SizeBody(BaseModel):
    """Exactly one of `risk_amount` (money of the account) and `risk_percent` (of its equity), and exactly one of

    `stop_loss` (a price) and `stop_points`. Without `price` the entry is the market's.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"symbol": "EURUSD", "side": "buy", "risk_percent": "1", "stop_points": 200}]
        },
    )

    account: Slug | None = None
    symbol: Symbol
    side: Side
    price: PositiveDecimal | None = None
    stop_loss: PositiveDecimal | None = None
    stop_points: Annotated[StrictInt, Field(ge=1, le=INT_MAX)] | None = None
    risk_amount: PositiveDecimal | None = None
    risk_percent: PositiveDecimal | None = None


class Size(View):
    """`volume` loses `loss` at the stop, at most `risk`; zero where even `least_volume` would lose `least_loss`.

    Money is in `currency`; `rate` converts the symbol's profit currency to it. `capped` says that the broker takes
    no larger volume. The gates are not asked here: that is what preview does.
    """

    account: str
    symbol: str
    side: Side
    volume: DecimalText
    loss: DecimalText
    risk: DecimalText
    currency: str
    entry: DecimalText
    stop_loss: DecimalText
    stop_points: DecimalText
    rate: DecimalText
    least_volume: DecimalText
    least_loss: DecimalText
    capped: bool
    equity: DecimalText
    quote_age_ms: int
    account_age_ms: int


@router.post("/size")
async def size(body: SizeBody, connected: ConnectionsDep, who: PrincipalDep) -> Size:
    """The largest volume whose loss at the stop stays within the risk, rounded down to the broker's step."""
    now = datetime.now(UTC)
    question = IntakeQuestion(
        user_id=who.user_id,
        credential=who.credential,
        trade_id=uuid4(),
        account=body.account,
        symbol=body.symbol,
        position_id=None,
    )
    intake = await admit(connected, who, question)
    account = account_of(intake, question)
    instrument = intake.instrument
    if instrument is None:
        raise invalid([FieldFault(field="symbol", message=f"the account has no symbol {body.symbol!r}")])
    facts = await connected.books.read(
        lambda connection: read_size_facts(
            connection, account.id, instrument, now=now, data_age_max=connected.data_age_max
        )
    )
    quote, equity, rate = _fresh(facts, body.symbol, now=now, age_max=connected.data_age_max)
    entry = Price(body.price) if body.price is not None else quote.to_open(body.side)
    stop_loss = _stop_loss(body, instrument, entry=entry)
    risk = _risk(body, equity=equity)
    sized = volume_for(instrument, body.side, risk=risk, entry=entry, stop_loss=stop_loss, rate=rate)
    return Size(
        account=account.slug,
        symbol=body.symbol,
        side=body.side,
        volume=sized.volume,
        loss=sized.loss,
        risk=risk,
        currency=facts.currency,
        entry=entry,
        stop_loss=stop_loss,
        stop_points=abs(entry - stop_loss) / instrument.point,
        rate=rate,
        least_volume=instrument.volume_min,
        least_loss=sized.least_loss,
        capped=sized.capped,
        equity=equity,
        quote_age_ms=age_ms(quote.read_at, now=now),
        account_age_ms=age_ms(facts.account_read_at or now, now=now),
    )


def _fresh(facts: SizeFacts, symbol: str, *, now: datetime, age_max: timedelta) -> tuple[Quote, Decimal, Decimal]:
    """The three numbers that a size stands on; a volume is never reckoned from old or missing ones."""
    found = []
    if facts.quote is None or now - facts.quote.read_at > age_max:
        found.append(FieldFault(field="symbol", message=f"there is no fresh quote of {symbol}; ask again shortly"))
    if facts.equity is None or facts.account_read_at is None or now - facts.account_read_at > age_max:
        found.append(FieldFault(field="account", message="the account was not read lately; ask again shortly"))
    if facts.rate is None:
        found.append(
            FieldFault(field="symbol", message=f"no fresh quote converts its currency to {facts.currency}")
        )
    if facts.quote is None or facts.equity is None or facts.rate is None or found:
        raise invalid(found)
    return facts.quote, facts.equity, facts.rate


def _stop_loss(body: SizeBody, instrument: Instrument, *, entry: Price) -> Price:
    if (body.stop_loss is None) == (body.stop_points is None):
        raise invalid([FieldFault(field="stop_loss", message="send either stop_loss or stop_points")])
    if body.stop_points is not None:
        stop_loss = Price(entry - body.side.sign * body.stop_points * instrument.point)
        if stop_loss <= 0:
            raise invalid(
                [FieldFault(field="stop_points", message=f"puts the stop below zero; the entry is {entry}")]
            )
        return stop_loss
    assert body.stop_loss is not None, "one of the two is there"
    fault = instrument.price_fault(body.stop_loss)
    if fault is None and (entry - body.stop_loss) * body.side.sign <= 0:
        below = "below" if body.side is Side.BUY else "above"
        fault = f"must be {below} the entry of {entry} for a {body.side} order"
    if fault is not None:
        raise invalid([FieldFault(field="stop_loss", message=fault)])
    return Price(body.stop_loss)


def _risk(body: SizeBody, *, equity: Decimal) -> Decimal:
    if (body.risk_amount is None) == (body.risk_percent is None):
        raise invalid([FieldFault(field="risk_amount", message="send either risk_amount or risk_percent")])
    if body.risk_amount is not None:
        return body.risk_amount
    assert body.risk_percent is not None, "one of the two is there"
    if body.risk_percent > 100:
        raise invalid([FieldFault(field="risk_percent", message="is at most 100")])
    return max(Decimal(0), share_of(equity, percent=body.risk_percent))
