"""What the commands that measure have in common: their first options, and how they begin."""

import argparse
from collections.abc import Iterable

from benchmarks import limits


def parser(name: str, doc: str | None, quick: str) -> argparse.ArgumentParser:
    """A parser with the options that all have; `quick` says what there is few of."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=(doc or "").partition("\n")[0])
    made.add_argument("--quick", action="store_true", help=f"few {quick}: whether all works, not how fast")
    made.add_argument("--threads", type=_threads, default=1, metavar="N", help="threads for everybody (default: 1)")
    return made


def limit(options: argparse.Namespace) -> None:
    """Give everybody the threads that were asked for, before anything else is imported."""
    limits.limit(options.threads)
    limits.use(options.threads)


def _threads(text: str) -> int:
    threads = int(text)
    if not 1 <= threads <= limits.PROCESSORS:
        raise argparse.ArgumentTypeError(f"from 1 to {limits.PROCESSORS}, which this process may run on")
    return threads


def sections(text: str, known: Iterable[str]) -> list[str]:
    """The sections of a list with commas, in the order in which they are measured."""
    names, wanted = list(known), text.split(",")
    if unknown := set(wanted) - set(names):
        raise argparse.ArgumentTypeError(f"no section {', '.join(sorted(unknown))}: {', '.join(names)}")
    return [name for name in names if name in wanted]
