"""The document of the reconciliation lists every cause, kind and decision of the code, and no other."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from domain.discrepancies import Decision
from domain.reconciliation import Cause, DifferenceKind

DOCUMENT = (Path(__file__).resolve().parent.parent / "docs" / "reconciliation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("title", "listed"), [("cause", Cause), ("kind", DifferenceKind), ("decision", Decision)]
)
def test_a_table_lists_what_the_code_has(title: str, listed: Iterable[str]) -> None:
    table = DOCUMENT.partition(f"| {title} |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == [str(each) for each in listed]
