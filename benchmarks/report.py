"""Makes the page docs/benchmarks.md and its picture out of a result.

    python -m benchmarks.report [RESULT] [--to FOLDER]

Without RESULT it is docs/benchmarks.json, the result that the page was last made from.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import goals, plot
from benchmarks.files import load, save, write_text
from benchmarks.prose import GOALS, HEAD, SECTIONS
from benchmarks.summary import tables
from benchmarks.tables import Table

DOCS = Path(__file__).resolve().parent.parent / "docs"
RESULT, PAGE, PICTURE = "benchmarks.json", "benchmarks.md", "benchmarks"


def write(folder: Path, result: Mapping[str, Any], *, pictures: Iterable[str] = ("svg",)) -> None:
    """Write a result, its page and its pictures into a folder."""
    save(folder / RESULT, result)
    write_text(folder / PAGE, page(result))
    if plot.has_points(result):
        for kind in pictures:
            plot.write(folder / f"{PICTURE}.{kind}", result)


def page(result: Mapping[str, Any]) -> str:
    """The whole document."""
    parts = [HEAD.format(**_machine(result)), _described(result)]
    if plot.has_points(result):
        parts.append(f"![Times beside Gatewright's]({PICTURE}.svg)")
    if found := goals.table(result):
        parts += ["## Goals", GOALS, found.markdown()]
    for name, made in tables(result).items():
        heading, text = SECTIONS[name]
        parts += [f"## {heading}", text, *(_titled(table) for table in made)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _titled(table: Table) -> str:
    return f"**{table.title}**\n\n{table.markdown()}"


def _machine(result: Mapping[str, Any]) -> dict[str, str]:
    threads = result["threads"]
    return {
        "command": result["command"],
        "threads": f"{threads} thread" + "s" * (threads > 1),
        "date": result["machine"]["date"],
    }


def _described(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    versions = [f"{name} {version or 'absent'}" for name, version in machine["versions"].items()]
    rows = [
        ["processor", machine["processor"]],
        ["processors; memory; largest cache", _sizes(machine)],
        ["vectors", ", ".join(machine["vector_features"])],
        ["system", f"{machine['system']}, Python {machine['python']}"],
        ["software", ", ".join(versions)],
        *(
            [f"peak, {count} thread(s)", f"{value / 1e9:.0f} GFLOP/s; a copy {machine['copy'][count] / 1e9:.1f} GB/s"]
            for count, value in machine["peak"].items()
        ),
        ["measured", f"{machine['date']}, {'--quick: for a look only' if result['quick'] else 'whole'}"],
    ]
    return "\n".join(["| the machine | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _sizes(machine: Mapping[str, Any]) -> str:
    return f"{machine['cores']}; {machine['memory_GiB']} GiB; {machine['largest_cache_MiB']:g} MiB"


def main(arguments: list[str] | None = None) -> None:
    """Make the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("result", type=Path, nargs="?", default=DOCS / RESULT, metavar="RESULT")
    parser.add_argument("--to", type=Path, default=DOCS, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        result = load(options.result)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    write(options.to, result)


if __name__ == "__main__":
    main()
