"""Where things lie, for tests that must know it while pytest is still collecting."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "gatewright"
GOLDEN = ROOT / "tests" / "golden"
SHARED_DATA = ROOT.parent / "shared" / "data"
SHARED_WEIGHTS = ROOT.parent / "shared" / "weights"


def package_files() -> list[Path]:
    """Every Python file of the package, in a fixed order."""
    return sorted(PACKAGE.rglob("*.py"))


def subprocess_environment() -> dict[str, str]:
    """The isolated environment of the tests, in which a child process imports this very package."""
    return {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
