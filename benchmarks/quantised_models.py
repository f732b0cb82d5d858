"""What trained models lose with weights of eight bits: their measures beside those of the float model.

    python -m benchmarks.quantised_models [RUN ...]

RUN is the folder of a run or a model file; each is measured on the data that it was trained for. Without any, a few
recipes are trained in seconds, with `--quick`, which shows that all works and little about the loss.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.tables import Table

RECIPES = ("text", "texts", "speakers", "series")
SMALL = 0.01
"""The largest relative change of a measure that is wanted."""


def rows(path: Path) -> Iterator[list[str]]:
    """The measures of a model's last part of data: as it is, in eight bits, and by how much they differ."""
    import gatewright as gw
    from gatewright.tasks.answers.evaluate import evaluate

    model = gw.tasks.open(path).model
    rounded = replace(model, network=gw.nn.quantize(model.network).model)
    exact, coarse = (list(evaluate(one).items())[-1] for one in (model, rounded))
    part = exact[0]
    for measure, value in exact[1].items():
        other = coarse[1][measure]
        change = (other - value) / abs(value) if value else 0.0
        small = "yes" if abs(change) < SMALL else "no"
        yield [f"{model.recipe.name}, {part} {measure}", f"{value:.5g}", f"{other:.5g}", f"{change:+.2%}", small]


def table(paths: Sequence[Path]) -> Table:
    """All measures of all models."""
    found = [row for path in paths for row in rows(path)]
    return Table("Weights in eight bits", ["", "float32", "int8", "change", f"below {SMALL:.0%}"], found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quantised_models", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="a run's folder, or a model file")
    options = parser.parse_args(arguments)
    if options.runs:
        print(table(options.runs).text())
        return
    import gatewright as gw

    with tempfile.TemporaryDirectory() as folder:
        runs = [gw.tasks.train(name, out=Path(folder) / name, quick=True).folder for name in RECIPES]
        print(table([run for run in runs if run]).text())


if __name__ == "__main__":
    main()
