"""Which code runs: the release, and the commit where it is a checkout or its build has left the commit's name."""

import subprocess
from functools import cache
from pathlib import Path

RELEASE = "0.1.0"

_HERE = Path(__file__).parent
# A build without a repository writes the commit here.
_COMMIT = _HERE / "COMMIT"


@cache
def code_version() -> str:
    """`0.1.0+1a2b3c4d5e6f`, with `-dirty` for a checkout that differs from its commit; `0.1.0` if no one knows."""
    commit = _COMMIT.read_text(encoding="utf-8").strip() if _COMMIT.exists() else _described()
    return f"{RELEASE}+{commit}" if commit else RELEASE


def _described() -> str | None:
    if not (_HERE / ".git").exists():
        return None
    words = ["git", "-C", str(_HERE), "describe", "--always", "--dirty", "--abbrev=12", "--match="]
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        # No git here, or a repository of somebody else's: the release still says what runs.
        return None
    return told.stdout.strip() or None
