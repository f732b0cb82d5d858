"""The page docs/results.md, out of the rows and what is kept of their runs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import networks
from gatewright.tasks import recipes
from tools.results.kept import Record, Records, of_row
from tools.results.row import Goal, Row

HEAD = """\
# Results

What the recipes reach on public data, beside published numbers. The page is made from [results.json](results.json),
which holds the measurements, and from the table in `tools/results/rows.py`. Do not change it by hand.

## How to read the tables

- **A row** is one training run with one seed. Its command stands below the table.
- **Parts.** A data set is split into three parts. A network learns from the *train* part. The *validation* part
  chooses the best epoch. The *test* part is used once, for the number in the table, and chooses nothing.
- **Measure** is the part of the data and what was measured on it. "train perplexity" says how well a text is known by
  heart.
- **Reference** is the number to compare with: "≥" where larger is better, "≤" where smaller is better. `source` says
  who published it; "our aim" is a number that we set ourselves. **Reached** says whether the run is as good as that.
- **Seconds** are those of training and validating. The machine may have done other things as well.
- **Not run yet**: no run with the present settings of this row has been kept. "Longer" rows take more than some
  minutes.

@MEASURES@

[Cells and settings side by side](exercises.md) compares cells on one task.

## How to repeat it

```sh
python -m tools.results run --runs runs/results            # trains what is not trained yet, for three hours at most
python -m tools.results run --runs runs/results --longer   # what takes longer as well
python -m tools.results write --runs runs/results          # puts finished runs on this page
```

`run` continues where it was stopped. `write` takes several folders, also from other machines. If a row was run twice,
the later run is shown. Runs with other settings than their row, and runs that did not finish, are refused.

## Summary
"""
MEASURES = {
    "accuracy": "the share of examples, or of steps, whose answer is right",
    "exact": "the share of sums in which every bit is right",
    "loss": (
        "the mean of -log p over the right answers; for music summed over the keys of a frame; for the sums "
        "of `longlag` the mean squared error"
    ),
    "perplexity": (
        "e to the power of the loss: the number of equally likely symbols that would be as hard to guess; 1 is perfect"
    ),
    "mae, mse": (
        "the mean absolute and the mean squared error of a forecast; the unit is the standard deviation of "
        "the train part"
    ),
    "skill": (
        "the share by which a forecast's mae is below that of the seasonal naive forecast, which repeats the "
        "last season; 1 is perfect, 0 is no better"
    ),
    "coverage": (
        "the share of true values that lie within the interval of the forecast; here intervals are made for 0.8"
    ),
    "width": (
        "the mean width of these intervals, in standard deviations of the train part; at the same coverage, "
        "narrower is better"
    ),
}
COMPARISON = """\
Each run beside simple methods that learned from the same train part. Both are measured on the same test part, and
every run prints both. TF-IDF counts words; a nearest neighbour takes the answer of the most similar example; a
seasonal naive forecast repeats the last season, whose length is in brackets.
"""
THROUGHPUT = """\
The same networks with Gatewright's recurrent layers and with those of `torch.nn`, in one process, with the same
weights, batches and optimiser. First, loss and gradients are compared ("equal to": the largest difference, as a share
of the largest number). Then whole iterations are timed in turn, and the medians are compared ("times": above 1,
Gatewright is faster). An iteration takes a batch, computes the loss and its gradients, clips them, and makes the
optimiser's step. Where the output layer is large, as with the 10,000 words of the Penn Treebank, recurrent layers are
a small part of it.
"""
_COLUMNS = ("run", "seed", "measure", "measured", "reference", "source", "reached", "seconds", "date", "machine")
_COMPARED = ("run", "seed", "measure", "Gatewright", "simple methods", "better than all", "seconds")
_NUMBERS = {"measured", "reference", "seconds", "Gatewright"}
_ERRORS = {"loss", "mae", "mse", "perplexity", "rmse"}  # the smaller, the better
_SIGNS = {"at least": "≥ ", "at most": "≤ ", "near": "", "shown": ""}


def page(rows: Sequence[Row], records: Records, throughput: Mapping[str, Any] | None = None) -> str:
    """The whole document; `throughput` is the result of `benchmarks.networks`."""
    found = {row.name: record for row in rows if (record := of_row(records, row)) is not None}
    machines = _machines(found)
    measures = [
        "| measure | what it is |",
        "| --- | --- |",
        *(f"| {name} | {about} |" for name, about in MEASURES.items()),
    ]
    parts = [HEAD.replace("@MEASURES@", "\n".join(measures)), _summary(rows, found)]
    for name in dict.fromkeys(row.recipe for row in rows):
        own = [row for row in rows if row.recipe == name]
        about = recipes.get(name).about
        parts += [f"## {name}", f"{about[:1].upper()}{about[1:]}.", _table(own, found, machines), _commands(own)]
    parts += _comparison(rows, found)
    if throughput is not None:
        parts += _throughput(throughput)
    if machines:
        parts += ["## Machines", "\n".join(f"- {letter}: {told}" for told, letter in machines.items())]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _summary(rows: Sequence[Row], found: Records) -> str:
    verdicts = [
        goal.met(goal.value(found[row.name]["metrics"])) for row in rows if row.name in found for goal in row.goals
    ]
    return (
        f"{len(found)} of {len(rows)} rows have been run. Of their references, {verdicts.count(True)} are reached and "
        f"{verdicts.count(False)} are not."
    )


def _comparison(rows: Sequence[Row], found: Records) -> list[str]:
    """The heading and a table of the runs whose simple methods are kept; nothing where none are."""
    lines = [line for row in rows if row.name in found for line in _beside(row, found[row.name])]
    if not lines:
        return []
    rule = ["---:" if name in _NUMBERS else "---" for name in _COMPARED]
    return [
        "## Beside simple methods",
        COMPARISON,
        "\n".join(f"| {' | '.join(line)} |" for line in [_COMPARED, rule, *lines]),
    ]


def _beside(row: Row, record: Record) -> Iterator[Sequence[str]]:
    """A line for each measure that the simple methods have on the part to test with."""
    methods: dict[str, dict[str, float]] = {}
    for name, value in record.get("baselines", {}).get("test", {}).items():
        measure, _, method = name.partition(" of ")
        methods.setdefault(measure, {})[method] = value
    for place, (measure, reached) in enumerate(methods.items()):
        own = record["metrics"]["test"][measure]
        better = own < min(reached.values()) if measure in _ERRORS else own > max(reached.values())
        beside = ", ".join(f"{method} {value:.4g}" for method, value in reached.items())
        first = [row.name, str(row.seed)] if place == 0 else ["", ""]
        seconds = f"{record['seconds']:,.0f}" if place == 0 else ""
        yield [*first, measure, f"{own:.4g}", beside, "yes" if better else "no", seconds]


def _throughput(result: Mapping[str, Any]) -> list[str]:
    """The heading, what is compared, and the table."""
    machine, threads = result["machine"], result["threads"]
    told = (
        f"Measured on {machine['date']} by `{result['command']}` on {threads} thread{'s' * (threads > 1)} of "
        f"{machine['processor']}, with torch {machine['versions']['torch']}. Before it began, the machine's "
        f"{machine['cores']} processors had a load of {result['load']}."
    )
    return ["## How fast they train", THROUGHPUT, networks.table(result).markdown(), told]


def _machines(found: Records) -> dict[str, str]:
    """A letter for each machine, by its description."""
    told = dict.fromkeys(_machine(record) for record in found.values())
    return {one: chr(ord("A") + place) for place, one in enumerate(told)}


def _machine(record: Record) -> str:
    machine = record["machine"]
    threads = f"{machine['threads']} thread" + "s" * (machine["threads"] > 1)
    return f"{machine['processor']}, {threads}, torch {machine['torch']}"


def _table(rows: Sequence[Row], found: Records, machines: Mapping[str, str]) -> str:
    rule = ["---:" if name in _NUMBERS else "---" for name in _COLUMNS]
    lines = [_COLUMNS, rule]
    for row in rows:
        record = found.get(row.name)
        lines += [_line(row, goal, record, machines, first=place == 0) for place, goal in enumerate(row.goals)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(row: Row, goal: Goal, record: Record | None, machines: Mapping[str, str], *, first: bool) -> Sequence[str]:
    own = [f"{row.name}{', longer' if row.longer else ''}", str(row.seed)] if first else ["", ""]
    wanted = "" if goal.kind == "shown" else f"{_SIGNS[goal.kind]}{goal.wanted:g}"
    wanted += f" ± {goal.within:g}" if goal.within else ""
    source = ", ".join(filter(None, [str(goal.source or ""), goal.remark]))
    if record is None:
        return [*own, goal.measure, "not run yet", wanted, source, "", "", "", ""]
    value = goal.value(record["metrics"])
    reached = {True: "yes", False: "no", None: ""}[goal.met(value)]
    facts = [f"{record['seconds']:,.0f}", record["finished"][:10], machines[_machine(record)]] if first else [""] * 3
    return [*own, goal.measure, f"{value:.5g}", wanted, source, reached, *facts]


def _commands(rows: Sequence[Row]) -> str:
    width = max(len(row.command) for row in rows)
    lines = [f"{row.command.ljust(width)}  # {row.name}{' (longer)' if row.longer else ''}" for row in rows]
    return "\n".join(["```sh", *lines, "```"])
