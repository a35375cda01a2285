"""Line B2: what is installed is what the lock pins by hash, of no version with a known hole, and free to use."""

import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parent.parent
# The checkout itself, and what makes the environment.
NOT_LOCKED = {"nexus", "pip", "uv"}
FREE = re.compile(
    r"\b(MIT(-0)?|BSD|0BSD|Apache|ISC|MPL|Mozilla|PSF|Python Software Foundation|Zlib|CC0)\b", re.IGNORECASE
)
# What only tests and benches use, and nothing of ours is linked with.
FREE_FOR_DEVELOPMENT = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}


def installed() -> dict[str, Distribution]:
    found = {canonicalize_name(each.name): each for each in distributions(path=sys.path)}
    return {name: each for name, each in found.items() if name not in NOT_LOCKED}


def locked(name: str) -> dict[str, set[str]]:
    """The versions of each package of a lock, of which the Python and the machine choose one."""
    found: dict[str, set[str]] = {}
    for entry in re.split(r"\n(?=\S)", (CHECKOUT / name).read_text()):
        pinned = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", entry)
        if pinned is not None:
            assert "--hash=sha256:" in entry, f"{pinned[0]} has no hash"
            found.setdefault(canonicalize_name(pinned[1]), set()).add(pinned[2])
    return found


def licence_of(each: Distribution) -> str:
    stated = each.metadata.get("License-Expression")
    classified = [
        line.rpartition(" :: ")[2] for line in each.metadata.get_all("Classifier", []) if "License ::" in line
    ]
    return stated or "; ".join(classified) or (each.metadata.get("License") or "").partition("\n")[0]


def test_b2_every_package_is_the_one_that_the_lock_pins_by_hash() -> None:
    lock = locked("requirements-dev.lock")
    wrong = {name: each.version for name, each in installed().items() if each.version not in lock.get(name, ())}
    assert wrong == {}


def test_b2_runtime_lock_pins_the_same_versions_as_that_of_the_tests() -> None:
    tested = locked("requirements-dev.lock")
    assert {name: each for name, each in locked("requirements.lock").items() if tested.get(name) != each} == {}


def test_b2_no_package_is_below_the_version_that_closed_its_hole() -> None:
    lines = (CHECKOUT / "minimum-versions.txt").read_text().splitlines()
    rules = [Requirement(line.partition("#")[0]) for line in lines if not line.startswith("#")]
    assert len(rules) > 10
    have = locked("requirements-dev.lock")
    open_holes = [
        f"{rule} ({version})"
        for rule in rules
        for version in have.get(canonicalize_name(rule.name), ())
        if not rule.specifier.contains(version)
    ]
    assert open_holes == []


def test_b2_every_licence_is_one_that_lets_us_use_and_pass_on_the_package() -> None:
    runtime = locked("requirements.lock")
    unknown = {
        name: licence_of(each)
        for name, each in installed().items()
        if not FREE.search(licence_of(each))
        and (name in runtime or FREE_FOR_DEVELOPMENT.get(name) != licence_of(each))
    }
    assert unknown == {}
