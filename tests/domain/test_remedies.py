"""Whatever a gate refuses, it says what would mend it."""

import ast
from pathlib import Path

from domain.remedies import REMEDIES
from domain.watch import CONDITIONS

DOMAIN = Path(__file__).resolve().parent.parent.parent / "domain"
MODULES = ("gates_standing.py", "gates_order.py", "sizing.py")


def codes_without_a_remedy() -> set[str]:
    """The codes of the denials that these modules write without a remedy of their own."""
    found: set[str] = set()
    for name in MODULES:
        for node in ast.walk(ast.parse((DOMAIN / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Denial":
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                code = given["code"]
                if isinstance(code, ast.Constant) and "remedy" not in given:
                    found.add(str(code.value))
    return found


def test_every_denial_has_a_remedy() -> None:
    assert len(codes_without_a_remedy()) > 15
    assert codes_without_a_remedy() <= set(REMEDIES)
    assert {str(kind) for kind in CONDITIONS} <= set(REMEDIES)
    assert {"trading_halted", "trading_reduce_only", "account_stale", "quote_stale"} <= set(REMEDIES)
