"""docs/security.md against the tests: each that it names is there, and every requirement has an answer."""

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
DOCUMENT = (CHECKOUT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
# Of ASVS 5.0.0: 70 requirements of level 1 and 183 of level 2.
REQUIREMENTS = 253


def test_every_test_that_the_document_names_is_there() -> None:
    named = NAMED.findall(DOCUMENT)
    assert len(named) > 100
    for file, name in named:
        module = ast.parse((CHECKOUT / file).read_text(encoding="utf-8"))
        defined = {
            node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in defined, f"{file} has no {name}"


def test_every_requirement_has_one_line_with_a_test_or_a_reason() -> None:
    lines = re.findall(r"^\| (\d+\.\d+\.\d+) \| (.*) \|$", DOCUMENT, re.MULTILINE)
    assert len(lines) == REQUIREMENTS
    assert len({number for number, _ in lines}) == REQUIREMENTS
    assert [number for number, answer in lines if len(answer.split()) < 1 or answer == "?"] == []


def test_every_line_of_the_threats_names_what_holds_it() -> None:
    threats = DOCUMENT.partition("## Who could attack")[2].partition("\n## ")[0]
    lines = [line for line in threats.splitlines() if line.startswith("| ")][1:]
    assert len(lines) > 15
    assert [line for line in lines if "tests/" not in line] == []
