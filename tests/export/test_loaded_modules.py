"""Which parts of the package are loaded to write a file."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from gatewright import cells, model_file
from tests.export.running import model_of
from tests.paths import subprocess_environment

PROGRAM = """
import sys
import gatewright as gw
gw.export.{write}("{model}", "{target}")
print(*sorted(name for name in sys.modules if name.startswith("gatewright.")))
"""


def loaded_to(write: str, model: Path, target: Path) -> set[str]:
    """The modules of the package that a new process has loaded once it has written a file."""
    program = PROGRAM.format(write=write, model=model.as_posix(), target=target.as_posix())
    run = subprocess.run(
        [sys.executable, "-c", program], env=subprocess_environment(), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_each_format_loads_its_own_backend(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "m.safetensors"
    model_file.save(path, model_of(cells.gru, rng))
    of_onnx, of_c = (loaded_to(w, path, tmp_path / f"m.{s}") for w, s in (("onnx", "onnx"), ("c99", "c")))
    assert "gatewright.backends.onnx.graph" in of_onnx
    assert "gatewright.backends.c99.pair" in of_c
    for loaded, other in ((of_onnx, "c99"), (of_c, "onnx")):
        assert [name for name in loaded if name.startswith(f"gatewright.backends.{other}")] == []
