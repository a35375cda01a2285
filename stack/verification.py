"""`nexus verify`: the laws, checked against the books as they are now."""

import asyncio
from collections.abc import Sequence

import typer
from rich.text import Text

from db.verify import LawResult, verify
from stack.books import books
from stack.options import StateDirOption, state_folder
from stack.show import screen

VIOLATIONS_SHOWN_MAX = 20

app = typer.Typer()


@app.command("verify")
def verify_laws(state_dir: StateDirOption = None) -> None:
    """Check every law against the database, one line each; exits with 1 when one is broken."""

    async def run() -> Sequence[LawResult]:
        async with books(state_folder(state_dir)) as connection:
            return await verify(connection)

    results, console = asyncio.run(run()), screen()
    for result in results:
        console.print(_line(result), soft_wrap=True)
    if any(result.violations for result in results):
        raise typer.Exit(1)


def _line(result: LawResult) -> Text:
    count = len(result.violations)
    verdict = Text(f"{count} broken", style="bold red") if count else Text("holds", style="green")
    line = Text.assemble(f"{result.law:>2}. {result.title}: ", verdict, f" ({result.checked} checked)")
    for violation in result.violations[:VIOLATIONS_SHOWN_MAX]:
        line.append(f"\n    {violation}")
    if count > VIOLATIONS_SHOWN_MAX:
        line.append(f"\n    and {count - VIOLATIONS_SHOWN_MAX} more")
    return line
