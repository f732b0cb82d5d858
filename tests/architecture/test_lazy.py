"""Importing the package, and using its parts that need no framework, loads none."""

import json
import subprocess
import sys

import pytest

from tests.architecture.imports import MODULES
from tests.paths import subprocess_environment

# Run in a new process; what was loaded before the first line (by .pth files of an environment) does not
# count.
PROGRAM = """
import json, sys
before = set(sys.modules)
{source}
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps(sorted(loaded - sys.stdlib_module_names - {{"gatewright"}})))
"""
CELL = """
import gatewright as gw

@gw.cell
def gru(x, h, W, U, b):
    r = gw.sigmoid(W.r @ x + U.r @ h + b.r)
    z = gw.sigmoid(W.z @ x + U.z @ h + b.z)
    n = gw.tanh(W.n @ x + U.n @ (r * h) + b.n)
    return z * h + (1 - z) * n
"""
# Each of these parts is used where no framework is installed, or before anybody has asked for one.
WITHOUT_FRAMEWORK = (
    "lang",
    "cells",
    "trace",
    "derive",
    "schedule",
    "backends",
    "drawing",
    "network",
    "convert",
    "model_file",
    "stream",
    "export",
)


def third_party_loaded_by(source: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(source=source)],
        env=subprocess_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return {name for name in json.loads(run.stdout) if "cython" not in name}  # numpy.random's own


def test_the_probe_sees_what_is_loaded() -> None:
    assert {"numpy", "platformdirs"} <= third_party_loaded_by("import numpy, platformdirs")


def test_the_package_loads_numpy_at_most() -> None:
    assert third_party_loaded_by("import gatewright") <= {"numpy"}


def test_writing_a_cell_loads_numpy_at_most() -> None:
    assert third_party_loaded_by(CELL) <= {"numpy"}


@pytest.mark.parametrize("part", [part for part in WITHOUT_FRAMEWORK if f"gatewright.{part}" in MODULES])
def test_a_part_loads_no_framework(part: str) -> None:
    small = {"numpy"}
    if part in {"convert", "model_file", "stream", "export"}:
        small |= {"safetensors"}
    if part == "stream":  # it compiles what it runs
        small |= {"llvmlite", "platformdirs"}
    assert third_party_loaded_by(f"import gatewright.{part}") <= small


@pytest.mark.skipif("gatewright.cli" not in MODULES, reason="there is no command line yet")
def test_the_command_line_starts_without_a_framework() -> None:
    loaded = third_party_loaded_by("import gatewright.cli")
    assert not loaded & {
        "torch",
        "lightning",
        "llvmlite",
        "matplotlib",
        "sklearn",
        "optuna",
        "pooch",
    }


@pytest.mark.parametrize("part", ["tasks.data", "tasks.recipes"])
def test_recipes_and_their_data_start_without_readers_and_frameworks(part: str) -> None:
    # pandas, SciPy and the like, and the readers of weights, are loaded by the functions that need them.
    assert third_party_loaded_by(f"import gatewright.{part}") <= {"numpy", "platformdirs"}
