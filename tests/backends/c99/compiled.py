"""Compile C files with what is on the machine, and run them on numbers."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
C99, GNU, CXX = ("-std=c99",), ("-std=gnu99",), ("-x", "c++", "-std=c++11")


def compiler(*names: str) -> str:
    """The first of these compilers that is here; where there is none, the test is skipped."""
    found = next(filter(None, map(shutil.which, names or ("cc", "gcc", "clang"))), None)
    if found is None:
        pytest.skip(f"there is no C compiler here: {', '.join(names or ('cc', 'gcc', 'clang'))}")
    return found


def build(folder: Path, *sources: Path, flags: tuple[str, ...] = C99, cc: str | None = None) -> Path:
    """An executable; warnings are errors."""
    program = folder / "program"
    command = [cc or compiler(), "-O1", *flags, *WARNINGS, *map(str, sources), "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return program


def run(program: Path, inputs: np.ndarray, dtype: str, outputs: int) -> np.ndarray:
    """The outputs (time, outputs) for inputs of one row."""
    done = subprocess.run([program], input=inputs.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, dtype).reshape(-1, outputs)
