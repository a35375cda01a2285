"""A limit in force has one value; what it was before stays, with who set it and why."""

from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError

from domain.limits import LimitName
from tests.db.books import Books


async def test_a_new_value_supersedes_and_keeps_the_old_one(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 500)
    await books.limit(LimitName.DAILY_LOSS, 400)

    values = await books.rows(
        "SELECT value, superseded_at IS NULL AS in_force FROM risk_limits WHERE name = 'daily_loss'"
        " ORDER BY created_at"
    )
    assert [(row["value"], row["in_force"]) for row in values] == [
        (Decimal(1_000_000), False),
        (Decimal(500), False),
        (Decimal(400), True),
    ]
    audited = await books.rows("SELECT detail FROM audit_log WHERE action = 'limit.set' ORDER BY id DESC LIMIT 1")
    assert (audited[0]["detail"]["before"], audited[0]["detail"]["after"]) == ("500", "400")


async def test_a_users_limit_stands_beside_the_accounts(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 500, user_id=books.user_id)
    in_force = await books.rows(
        "SELECT user_id FROM risk_limits WHERE name = 'daily_loss' AND superseded_at IS NULL ORDER BY user_id"
    )
    assert [row["user_id"] for row in in_force] == [books.user_id, None]


async def test_the_database_keeps_one_value_in_force_and_none_below_zero(books: Books) -> None:
    with pytest.raises(IntegrityError, match="uq_risk_limits_base"):
        await books.run("UPDATE risk_limits SET superseded_at = NULL, name = 'daily_loss'")
    with pytest.raises(IntegrityError, match="uq_risk_limits_loosened"):
        await books.run("UPDATE risk_limits SET superseded_at = NULL, name = 'daily_loss', expires_at = now()")
    with pytest.raises(IntegrityError, match="ck_risk_limits_value"):
        await books.run("UPDATE risk_limits SET value = -1")
