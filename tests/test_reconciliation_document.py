"""The document of the reconciliation lists every cause, kind, verdict and decision of the code, and no other."""

import re
from collections.abc import Iterable

import pytest

from domain.discrepancies import Decision, DiscrepancyState
from domain.reconciliation import Cause, DifferenceKind, Verdict
from stack.state import CHECKOUT

DOCUMENT = (CHECKOUT / "docs" / "reconciliation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("title", "listed"),
    [
        ("cause", Cause),
        ("kind", DifferenceKind),
        ("verdict", Verdict),
        ("decision", Decision),
        ("state", DiscrepancyState),
    ],
)
def test_a_table_lists_what_the_code_has(title: str, listed: Iterable[str]) -> None:
    table = DOCUMENT.partition(f"| {title} |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == [str(each) for each in listed]


def test_the_settings_are_those_of_a_deployment_with_their_defaults() -> None:
    listed = re.findall(r"^\| `(RECONCILIATION_\w+)` \|.*\| `(\w+)` \|$", DOCUMENT, flags=re.MULTILINE)
    example = (CHECKOUT / ".env.example").read_text(encoding="utf-8")
    assert dict(listed) == dict(re.findall(r"^(RECONCILIATION_\w+)=(\w+)$", example, flags=re.MULTILINE))
