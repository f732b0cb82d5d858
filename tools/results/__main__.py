"""Trains the rows of docs/results.md, and writes the page.

    python -m tools.results run --runs FOLDER [--longer] [--only ROW ...] [--budget-hours 3] [--jobs N]
    python -m tools.results write [--runs FOLDER ...]

`run` trains what is not finished in the folder, goes on with what was stopped, and stops when the time is used up,
with every state kept. `write` adds the finished runs of folders to docs/results.json, and makes docs/results.md of it;
without a folder it only makes the page.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Timer
from typing import Any

from rich.console import Console

from benchmarks import files, networks
from gatewright.errors import GatewrightError
from gatewright.files import write_atomically
from gatewright.tasks.comparing import engines
from gatewright.tasks.comparing import runs as comparing
from gatewright.tasks.training.run_folder import RunFolder
from tests.paths import ROOT
from tools.results.kept import load, merged, save
from tools.results.page import page
from tools.results.row import Row
from tools.results.rows import ROWS

DOCS = ROOT / "docs"
RESULTS, PAGE = "results.json", "results.md"
CONSOLE = Console(stderr=True, highlight=False, soft_wrap=True)


def run(rows: Sequence[Row], folder: Path, *, hours: float, jobs: int) -> int:
    """Train the rows, and say what is left; 0 where all went well or the time is used up, 130 after Ctrl-C."""
    runs = [comparing.ComparedRun(row.made(), row.data, RunFolder(folder / row.name)) for row in rows]
    over: list[bool] = []

    def time_is_over() -> None:
        over.append(True)
        os.kill(os.getpid(), signal.SIGINT)

    clock = Timer(hours * 3600, time_is_over)
    clock.daemon = True
    clock.start()
    try:
        outcomes = comparing.compare(runs, out=folder, jobs=jobs, console=CONSOLE)
    except comparing.Interrupted as stop:
        CONSOLE.print(f"{'the time is used up' if over else 'stopped'}; the same command goes on")
        return 0 if over else 128 + (stop.signal_number or signal.SIGINT)
    finally:
        clock.cancel()
        finished = sum(one.folder.finished for one in runs)
        CONSOLE.print(f"{finished} of {len(runs)} rows are finished; python -m tools.results write --runs {folder}")
    problems = {one.run.folder.path.name: one.problem for one in outcomes if one.problem is not None}
    for name, problem in problems.items():
        CONSOLE.print(f"failed: {name}: {problem}", markup=False)
    return 1 if problems else 0


def write(rows: Sequence[Row], folders: Sequence[Path], docs: Path) -> int:
    """Write what is kept and the page; 1 where a folder with the name of a row holds another run."""
    records, refused = merged(rows, load(docs / RESULTS), folders)
    save(docs / RESULTS, records, rows)
    write_atomically(docs / PAGE, page(rows, records, throughput(docs)).encode())
    for one in refused:
        CONSOLE.print(f"{one.path} {one.reason}", markup=False)
    CONSOLE.print(f"{len(records)} of {len(rows)} rows: {docs / PAGE}")
    return 1 if any(one.named for one in refused) else 0


def throughput(docs: Path) -> dict[str, Any] | None:
    """The result of `benchmarks.networks` that lies there, if one does."""
    path = docs / networks.RESULT.name
    return files.load(path) if path.exists() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for."""
    options = _parser().parse_args(arguments)
    try:
        if options.action == "write":
            return write(ROWS, options.runs, options.docs)
        chosen = [
            row for row in ROWS if (row.name in options.only if options.only else options.longer or not row.longer)
        ]
        return run(chosen, options.runs, hours=options.budget_hours, jobs=options.jobs or engines.default_jobs())
    except GatewrightError as error:
        CONSOLE.print(f"error: {error}", markup=False)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.results", description=(__doc__ or "").partition("\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    runs = actions.add_parser("run", help="train what is not finished")
    runs.add_argument("--runs", type=Path, required=True, metavar="FOLDER", help="where the runs are")
    runs.add_argument("--longer", action="store_true", help="also the rows that take longer")
    runs.add_argument("--only", nargs="+", default=[], choices=[row.name for row in ROWS], metavar="ROW")
    runs.add_argument("--budget-hours", type=float, default=3.0, metavar="HOURS", help="stop then (%(default)g)")
    runs.add_argument("--jobs", type=int, metavar="N", help="runs at a time; otherwise one for each core")
    page_ = actions.add_parser("write", help="write docs/results.json and docs/results.md")
    page_.add_argument("--runs", type=Path, action="append", default=[], metavar="FOLDER", help="may be given again")
    page_.add_argument("--docs", type=Path, default=DOCS, metavar="FOLDER", help="where the page is (docs)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
