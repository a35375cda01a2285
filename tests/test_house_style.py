"""The rules of the house that a machine can check; the linter holds the others."""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from activities.commands import CommandActivities
from activities.failures import REPEAT_HELPS
from activities.feed import FeedActivities
from activities.sends import SenderActivities
from activities.trades import TradeActivities
from api.errors import PIPELINE_PROBLEMS
from domain.errors import PipelineError
from tests.subclasses import subclasses

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("activities", "api", "audit", "brokers", "dashboard", "db", "domain", "stack", "workflows")
PURE = ("domain", "workflows")
EXACT = ("activities", "db", "domain", "workflows")

MODULE_LINES_MAX, FUNCTION_LINES_MAX = 350, 60
LONG_MODULES = {
    "db/tables.py": "one table after the other, without any logic",
}
EMPTY_SUFFIXES = ("Manager", "Service", "Helper", "Util", "Utils", "Processor", "Handler", "Base", "Impl", "Data")
CHANCE = {"uuid1", "uuid4", "random", "randint", "choice", "token_hex", "token_bytes", "token_urlsafe"}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic"}

Activities = TradeActivities | SenderActivities | CommandActivities | FeedActivities
ACTIVITY_CLASSES: dict[str, type[Activities]] = {
    cls.__name__: cls for cls in (TradeActivities, SenderActivities, CommandActivities, FeedActivities)
}

Finder = Callable[[ast.AST], Iterator[ast.AST]]


def modules(*packages: str) -> list[Path]:
    """The project's modules, or those of some packages; without packages, the top-level ones as well."""
    roots = [CHECKOUT / package for package in packages or PACKAGES]
    found = [path for root in roots for path in root.rglob("*.py")]
    return sorted(found if packages else [*found, *CHECKOUT.glob("*.py")])


def all_modules() -> list[Path]:
    return [*modules(), *sorted((CHECKOUT / "tests").rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def places(paths: list[Path], find: Finder) -> list[str]:
    """Where `find` finds something, as `file:line`."""
    return [
        f"{name_of(path)}:{node.lineno}" for path in paths for node in find(tree(path)) if hasattr(node, "lineno")
    ]


def imported_roots(node: ast.AST) -> set[str]:
    match node:
        case ast.Import(names=names):
            return {alias.name.partition(".")[0] for alias in names}
        case ast.ImportFrom(module=str(module), level=0):
            return {module.partition(".")[0]}
        case _:
            return set()


def test_modules_are_short() -> None:
    long = {
        name_of(path)
        for path in all_modules()
        if len(path.read_text(encoding="utf-8").splitlines()) > MODULE_LINES_MAX
    }
    assert long - set(LONG_MODULES) == set()
    assert set(LONG_MODULES) - long == set(), "an exception that is no longer needed"


def test_functions_are_short() -> None:
    def find(module: ast.AST) -> Iterator[ast.AST]:
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno >= FUNCTION_LINES_MAX:
                    yield node

    assert places(all_modules(), find) == []


def test_no_class_is_named_for_what_it_vaguely_does() -> None:
    def find(module: ast.AST) -> Iterator[ast.AST]:
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and node.name.endswith(EMPTY_SUFFIXES):
                yield node

    assert places(all_modules(), find) == []


@pytest.mark.parametrize(
    ("package", "allowed"), [("jose", {"api/tokens.py"}), ("MetaTrader5", set()), ("rpyc", None)]
)
def test_a_package_with_one_door_is_imported_there_alone(package: str, allowed: set[str] | None) -> None:
    importing = {
        name_of(path) for path in modules() for node in ast.walk(tree(path)) if package in imported_roots(node)
    }
    # The bridge is served and reached in different files, all of them at the broker's edge.
    assert (
        importing <= allowed if allowed is not None else all(name.startswith("brokers/mt5/") for name in importing)
    )


def test_the_terminals_package_is_named_in_one_place() -> None:
    naming = {
        name_of(path)
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and node.value == "MetaTrader5"
    }
    assert naming == {"brokers/mt5/terminals.py"}


def test_no_float_comes_near_the_money() -> None:
    def find(module: ast.AST) -> Iterator[ast.AST]:
        for node in ast.walk(module):
            match node:
                case ast.Name(id="float") | ast.Constant(value=float()):
                    yield node
                case _:
                    pass

    # A pause is no money.
    allowed = {"activities/heartbeats.py", "activities/units.py"}
    assert [place for place in places(modules(*EXACT), find) if place.partition(":")[0] not in allowed] == []


def test_neither_clock_nor_chance_nor_environment_reaches_what_must_be_deterministic() -> None:
    def find(module: ast.AST) -> Iterator[ast.AST]:
        for node in ast.walk(module):
            match node:
                case ast.Attribute(value=ast.Name(id="workflow")):
                    continue
                case ast.Attribute(value=ast.Name(id="datetime" | "date" | "time"), attr=attr) if attr in CLOCKS:
                    yield node
                case ast.Attribute(value=ast.Name(id="os" | "random" | "secrets" | "uuid")):
                    yield node
                case ast.Name(id=name) if name in CHANCE:
                    yield node
                case ast.Import() | ast.ImportFrom() if imported_roots(node) & {"os", "random", "secrets", "time"}:
                    yield node

    assert places(modules(*PURE), find) == []


def test_no_error_is_swallowed_unseen() -> None:
    def find(module: ast.AST) -> Iterator[ast.AST]:
        for node in ast.walk(module):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = "" if node.type is None else ast.unparse(node.type)
            silent = all(isinstance(line, ast.Pass | ast.Continue) for line in node.body)
            if silent and caught in {"", "Exception", "BaseException"}:
                yield node

    assert places(all_modules(), find) == []


def test_queries_take_the_connection_first_and_never_end_the_transaction() -> None:
    def find(module: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(module, ast.Module)
        for node in module.body:
            if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_"):
                first = node.args.args[0].arg if node.args.args else None
                if first != "connection":
                    yield node
        for part in ast.walk(module):
            if isinstance(part, ast.Attribute) and part.attr in {"commit", "rollback"}:
                yield part

    # Made by a superuser before there is a database, asked before there is an engine, or programs of their own.
    apart = {"db/bootstrap.py", "db/safety.py", "db/migrate.py", "db/verify.py", "db/migrations/env.py"}
    assert [place for place in places(modules("db"), find) if place.partition(":")[0] not in apart] == []


def test_each_edge_knows_every_error_of_the_domain() -> None:
    every = subclasses(PipelineError)
    assert set(REPEAT_HELPS) == every
    assert set(PIPELINE_PROBLEMS) == every
    assert len({error.code for error in REPEAT_HELPS}) == len(every), "a code names one situation"


def test_every_activity_that_a_workflow_asks_for_is_offered_by_a_worker() -> None:
    asked = {
        (node.value.id, node.attr)
        for path in modules("workflows")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ACTIVITY_CLASSES
    }
    offered = {
        (name, activity.__name__)
        for name, cls in ACTIVITY_CLASSES.items()
        # The list is the same for every instance, so none has to be wired.
        for activity in object.__new__(cls).activities
    }
    assert asked
    assert asked - offered == set()
    made = {
        node.func.id
        for node in ast.walk(tree(CHECKOUT / "worker.py"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert set(ACTIVITY_CLASSES) - made == set(), "the worker wires every class of activities"


def test_b4_nothing_is_evaluated_and_no_page_trusts_what_it_is_given() -> None:
    def find(module: ast.AST) -> Iterator[ast.AST]:
        for node in ast.walk(module):
            match node:
                case ast.Call(func=ast.Name(id="eval" | "exec" | "compile")):
                    yield node

    assert places(modules(), find) == []
    templates = [*CHECKOUT.glob("dashboard/**/*.html"), *CHECKOUT.glob("dashboard/**/*.jinja")]
    assert [name_of(path) for path in templates if "|safe" in path.read_text().replace(" ", "")] == []


# What is put in there are names of tables, columns and states that stand in the same module.
STATEMENTS_OF_CONSTANTS = {"audit/flight.py", "db/tables.py"}


def test_b4_no_statement_is_put_together_from_what_somebody_sent() -> None:
    """A constant in capitals may be put in; everything else is a parameter of the statement."""

    def find(module: ast.AST) -> Iterator[ast.AST]:
        for node in ast.walk(module):
            match node:
                case ast.Call(func=ast.Name(id="text"), args=[ast.JoinedStr(values=values), *_]):
                    if not all(_constant(value) for value in values):
                        yield node
                case ast.Call(func=ast.Name(id="text"), args=[ast.BinOp() | ast.Call(), *_]):
                    yield node

    found = {
        place.partition(":")[0] for place in places(modules("activities", "api", "audit", "db", "stack"), find)
    }
    assert found == STATEMENTS_OF_CONSTANTS


def _constant(value: ast.expr) -> bool:
    match value:
        case ast.Constant():
            return True
        case ast.FormattedValue(value=ast.Name(id=name)):
            return name.isupper()
        case _:
            return False
