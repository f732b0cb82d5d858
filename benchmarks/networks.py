"""How fast whole networks train, beside the same networks on other software.

    python -m benchmarks.networks [--quick] [--threads N] [--seconds N] [--only SECTION,...] [--out FILE]

- training_steps: embedding, recurrent layer, linear layer, loss and Adam, in float32 and in bfloat16, on one thread and
  on two, beside torch.nn, torch.compile and JAX with optax, each in a process of its own. A plain parallel product in
  the same rounds shows what threads can gain on the machine.
- recipes: networks and data of recipes, beside torch.nn, on `--threads`. An iteration is all of one: the batch is cut
  out of the data, the loss computed, derived and clipped, the optimiser makes its step.

What comes out is written to docs/throughput.json, and `python -m tools.results write` shows the recipes.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import command, files, goals, limits
from benchmarks.names import OURS, TORCH, Record
from benchmarks.tables import Table

if TYPE_CHECKING:
    from benchmarks.timing import Method
    from gatewright.tasks.recipe import Recipe

RESULT = Path(__file__).resolve().parent.parent / "docs" / "throughput.json"
SECTIONS = ("training_steps", "recipes")
TOLERANCE = 5e-5
"""The largest difference of loss and gradients in float32, as a share of the largest number in each."""


@dataclass(frozen=True)
class Subject:
    """A recipe whose network is trained by both; its cell is one that torch.nn has."""

    title: str
    recipe: str
    assignments: tuple[str, ...]

    def made(self) -> "Recipe":
        """The recipe, set."""
        from gatewright.tasks import recipes

        return recipes.get(self.recipe).configured(self.assignments)


SUBJECTS = (
    Subject("The Time Machine", "text", ("preset=d2l", "cell=gru(reset=after)")),
    Subject("MNIST, row by row", "images", ("preset=text",)),
    Subject("Penn Treebank", "words", ("preset=small",)),
)


def measured(title: str, made: "Recipe", method: "Method", source: str | None = None) -> Record:
    """The seconds of an iteration of both, in turn; a reason in their place where the two networks differ."""
    from benchmarks.races import as_record
    from benchmarks.setup import rounded, tell
    from benchmarks.timing import race
    from benchmarks.training import Training, difference
    from gatewright.errors import DataError

    record = {"title": title, "settings": made.settings(), "recipe": made.name, "items": made.objective().items}
    try:
        data = made.data(source)
    except DataError as error:
        tell(f"{title}: {error.problem}")
        return {**record, "status": "absent", "reason": error.problem}
    ours = Training.of(made, data)
    theirs = ours.on_torch()
    found, where = difference(ours, theirs)
    if not found <= TOLERANCE:  # false for NaN
        tell(f"{title}: {where} is off by {found:.1e}, so that nothing is timed")
        return {**record, "status": "differs", "reason": f"{where} is off by {found:.1e} of its largest number"}
    timings = race({OURS: ours.iterate, TORCH: theirs.iterate}, method)
    runs = {name: as_record(timing) for name, timing in timings.items()}
    record |= {"status": "timed", "difference": rounded(found), "count": ours.items_of_a_batch(), "runs": runs}
    tell(f"{title}: {', '.join(f'{name} {speed(record, name):,.0f}' for name in runs)} {record['items']} a second")
    return record


def speed(record: Record, name: str) -> float:
    """Items a second."""
    return record["count"] / record["runs"][name]["median"]


def table(result: Mapping[str, Any]) -> Table:
    """A row for each network. "times" is Gatewright's speed as a multiple of the other."""
    rows = [[_title(record), *_numbers(record)] for record in result.get("networks", [])]
    return Table("Training", ["", "Gatewright", "torch.nn", "times", "equal to"], rows)


def _title(record: Record) -> str:
    settings = record["settings"]
    layers = "" if settings["layers"] == 1 else f"{settings['layers']} x "
    return f"{record['title']}: `{settings['cell']}`, {layers}{settings['hidden']} units, {settings['batch']} rows"


def _numbers(record: Record) -> list[str]:
    if record["status"] != "timed":
        return ["", "", record["reason"], ""]
    ours, theirs = speed(record, OURS), speed(record, TORCH)
    items = record["items"]
    times = f"{ours / theirs:.2f}"
    return [f"{ours:,.0f} {items}/s", f"{theirs:,.0f} {items}/s", times, f"{record['difference']:.0e}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write down what came out."""
    options = _parser().parse_args(arguments)
    command.limit(options)
    _measure(options)


def _measure(options: argparse.Namespace) -> None:
    from benchmarks import machine, timing
    from benchmarks.network_step import tables

    method = timing.QUICK if options.quick else timing.Method(budget=options.seconds)
    only = "" if options.only == list(SECTIONS) else f" --only {','.join(options.only)}"
    quick = " --quick" if options.quick else ""
    result: dict[str, Any] = {
        "command": f"python -m benchmarks.networks --threads {options.threads}{quick}{only}",
        "threads": options.threads,
        "quick": options.quick,
        "machine": machine.description(),
        "load": round(os.getloadavg()[0], 1),
        "sections": {},
    }
    shown: list[Table] = []
    if "training_steps" in options.only:
        counts = [1, several] if (several := max(2, options.threads)) <= limits.PROCESSORS else [1]
        records = training_steps(counts, method, quick=options.quick)
        limits.limit(options.threads)
        result |= {"step_threads": counts, "sections": {"training_steps": records}}
        files.save(options.out, result)  # what is there is kept, should a recipe fail
        shown += [*tables.tables(records, counts), goals.table(result)]
    if "recipes" in options.only:
        subjects = SUBJECTS[:1] if options.quick else SUBJECTS
        result["networks"] = [measured(subject.title, subject.made(), method) for subject in subjects]
        shown.append(table(result))
    files.save(options.out, result)
    print(*(made.text() for made in shown), sep="\n\n")


def training_steps(threads: Sequence[int], method: "Method", *, quick: bool) -> list[Record]:
    """Every case in every dtype by every peer, on each number of threads in turn."""
    from benchmarks.network_step import cases, contest
    from benchmarks.network_step.job import TOLERANCES
    from benchmarks.network_step.torch_networks import reference_losses

    limits.limit(threads[-1])  # what is started may run on as many processors
    records: list[Record] = []
    peers = (*contest.PEERS, *contest.MACHINE)
    again = (
        (OURS, TORCH, contest.PRODUCT) if quick else (*contest.PEERS, contest.PRODUCT)
    )  # torch.compile takes most of a quick run
    with contest.processes(peers, threads[:1]) as alone, contest.processes(again, threads[1:]) as together:
        for case in cases.QUICK[:1] if quick else cases.CASES:
            wanted = reference_losses(case)
            records += [contest.contest(case, dtype, [*alone, *together], wanted, method) for dtype in TOLERANCES]
    return records


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("networks", __doc__, "networks and rounds")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="N", help="for each network (%(default)g)")
    parser.add_argument(
        "--only", type=_sections, default=list(SECTIONS), metavar="SECTION,...", help=f"of {', '.join(SECTIONS)}"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULT, metavar="FILE", help="for the result (docs/throughput.json)"
    )
    return parser


def _sections(text: str) -> list[str]:
    return command.sections(text, SECTIONS)


if __name__ == "__main__":
    main()
