import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-uv.lock")
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def pins(lock: str) -> dict[str, str]:
    """Each pinned package, by its normal name, with everything the lock says of it."""
    blocks = re.split(r"\n(?=\S)", (CHECKOUT / lock).read_text())
    found: dict[str, str] = {}
    for block in blocks:
        name = normal(re.split(r"[=@ ]", block, maxsplit=1)[0])
        found[name] = found.get(name, "") + block
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named_in(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]) for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("leak", ["://", "--index", "--extra-index", "--find-links", "--trusted-host", " @ "])
def test_a_lock_names_no_place_to_download_from(lock: str, leak: str) -> None:
    assert leak not in (CHECKOUT / lock).read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_exact_and_hashed(lock: str) -> None:
    loose = [name for name, block in pins(lock).items() if "==" not in block or "--hash=sha256:" not in block]
    assert loose == []


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("requirements.lock", ["embedded"]), ("requirements-dev.lock", ["embedded", "dev"])],
)
def test_every_dependency_of_the_project_is_pinned(lock: str, extras: list[str]) -> None:
    wanted = named_in(PROJECT["dependencies"])
    for extra in extras:
        wanted |= named_in(PROJECT["optional-dependencies"][extra])
    assert wanted - pins(lock).keys() == set()


def test_the_development_lock_holds_the_very_pins_of_the_runtime_lock() -> None:
    development = pins("requirements-dev.lock")
    for name, block in pins("requirements.lock").items():
        assert versions(block) == versions(development[name])


def versions(block: str) -> list[str]:
    return re.findall(r"^\S+==\S+", block, flags=re.MULTILINE)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_real_terminal_package_is_for_windows_alone(lock: str) -> None:
    assert re.search(r"^metatrader5==\S+ ; sys_platform == 'win32'", (CHECKOUT / lock).read_text(), re.MULTILINE)
