"""What is kept of finished runs: a record for each row, in one file of the repository."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatewright.errors import DataError
from gatewright.files import write_atomically
from gatewright.tasks.training.run_folder import RunFolder
from tools.results.row import Row

Record = Mapping[str, Any]
Records = Mapping[str, Record]
FORMAT = 1
_FACTS = ("parameters", "metrics", "epochs", "best_epoch", "seconds", "machine")


@dataclass(frozen=True)
class Refused:
    """A run that is none of the rows, or not finished; `named` where its folder has the name of a row."""

    path: Path
    reason: str
    named: bool


def load(path: Path) -> dict[str, Record]:
    """The records by the names of their rows; none where there is no file."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{path} is no file of results", expected=f"format {FORMAT}", do="delete it, and write anew")
    return found["runs"]


def save(path: Path, records: Records, order: Sequence[Row]) -> None:
    """Write the records, a line each, in the order of the rows."""
    names = [row.name for row in order if row.name in records]
    lines = [f"  {json.dumps(name)}: {json.dumps(records[name], ensure_ascii=False)}" for name in names]
    runs = ",\n".join(lines)
    text = f'{{\n "format": {FORMAT},\n "runs": {{\n{runs}\n }}\n}}\n'
    write_atomically(path, text.encode())


def runs_in(places: Iterable[Path]) -> Iterator[RunFolder]:
    """The runs of folders: each is one itself, or holds some."""
    for place in places:
        if not place.is_dir():
            raise DataError(f"there is no folder {place}", do="name one that holds runs with --runs")
        for path in [place, *sorted(place.iterdir())]:
            if (folder := RunFolder(path)).run.exists():
                yield folder


def read(rows: Sequence[Row], folder: RunFolder) -> tuple[str, Record] | Refused:
    """The name of the run's row, and its record."""
    run = folder.read(folder.run)
    settings = {**run["settings"], **run.get("asked", {})}  # not what followed from the data, but what was asked for
    named = next((row for row in rows if row.name == folder.path.name), None)
    candidates = [named] if named else rows
    differing = {row.name: row.differences(run["recipe"], settings, run["data"]) for row in candidates}
    nearest = min(differing, key=lambda name: ("recipe" in differing[name], len(differing[name])))
    if differing[nearest]:
        return Refused(folder.path, _told(nearest, differing[nearest]), named is not None)
    if not folder.finished:
        return Refused(folder.path, "is not finished", named=False)
    result = folder.read(folder.result)
    finished = result["machine"].get("finished") or _last_change(folder.result)
    record = {key: result[key] for key in _FACTS} | {
        "baselines": result.get("baselines", {}),  # an earlier version kept none
        "finished": finished,
        "data": run["data"],
        "settings": settings,
    }
    record["machine"] = {key: result["machine"][key] for key in ("processor", "threads", "torch")}
    return nearest, record


def _told(name: str, differing: Mapping[str, tuple[Any, Any]]) -> str:
    told = ", ".join(f"{key}={got} where {key}={wanted} is wanted" for key, (wanted, got) in differing.items())
    return f"is no run of {name!r}: {told}"


def _last_change(path: Path) -> str:
    """When a result of a version that wrote no date was written."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def merged(rows: Sequence[Row], kept: Records, places: Iterable[Path]) -> tuple[dict[str, Record], list[Refused]]:
    """What is kept together with what the folders hold: of each row what was finished last.

    What is kept of a row that has other settings now is left out.
    """
    found = {row.name: record for row in rows if (record := of_row(kept, row)) is not None}
    refused: list[Refused] = []
    for folder in runs_in(places):
        one = read(rows, folder)
        if isinstance(one, Refused):
            refused.append(one)
        elif one[0] not in found or found[one[0]]["finished"] <= one[1]["finished"]:
            found[one[0]] = one[1]
    return found, refused


def of_row(records: Records, row: Row) -> Record | None:
    """The record of a row, where it is of the settings that the row has now."""
    record = records.get(row.name)
    if record is None or row.differences(row.recipe, record["settings"], record["data"]):
        return None
    return record
