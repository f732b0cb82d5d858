"""Installs the wheel of dist/ into a new environment, with all that the extra [train] needs, and uses it there.

    python -m tools.try_wheel [FOLDER]

`make wheel` runs it after the build. It downloads what pip's cache does not have. The environment and all files are in
a temporary folder, so that nothing of the source tree can be imported. tests/packaging does a part of this offline.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.paths import ROOT

ANSWER = "1040"


def newest_wheel(folder: Path) -> Path:
    """The wheel that was built last."""
    wheels = sorted(folder.glob("gatewright-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise SystemExit(f"there is no wheel in {folder}: python -m build")
    return wheels[-1]


def run(*command: str | Path, folder: Path) -> str:
    """What a command prints; a command that fails ends the trial."""
    sys.stderr.write(f"$ {' '.join(map(str, command))}\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def trial(wheel: Path, folder: Path) -> None:
    """Install, ask for the version, train a network that adds, and let it add."""
    venv.create(folder / "environment", with_pip=True)
    programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt")
    run(*pip, f"gatewright[train] @ {wheel.resolve().as_uri()}", folder=folder)
    gatewright = programs / "gatewright"
    version = run(gatewright, "--version", folder=folder).strip()
    run(gatewright, "train", "adding", "--quick", "--out", "adding", folder=folder)
    answer = run(gatewright, "add", "adding", "1024", "16", folder=folder).strip()
    if answer != ANSWER:
        raise SystemExit(f"{version}: 1024 + 16 = {answer}, and not {ANSWER}")
    sys.stdout.write(f"{version} from {wheel.name}: installed, trained, 1024 + 16 = {answer}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="gatewright-wheel-") as work:
        trial(newest_wheel(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"), Path(work))
