import subprocess
import sys

HEAVY = ("sqlalchemy", "temporalio", "fastapi", "pydantic", "numpy", "structlog", "asyncio")


def test_the_child_loads_nothing_heavy() -> None:
    program = f"import sys, brokers.mt5.child; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
