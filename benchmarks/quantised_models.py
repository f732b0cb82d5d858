"""What trained models lose with weights in int8 and bfloat16: their measures beside those of the float32 model.

    python -m benchmarks.quantised_models [RUN ...]
    python -m benchmarks.quantised_models --data FOLDER --out runs/quantised
    python -m benchmarks.quantised_models --speed

RUN is the folder of a run or a model file; each is measured on the data that it was trained for. With `--data`, the
folder of data sets, recipes are trained with their default settings first; a run that is in `--out` already is used
again. Without either, a few recipes are trained in seconds, with `--quick`, which shows that all works and little about
the loss. `--speed` times single rows beside torch.ao's dynamic quantisation, on one thread: calls of 100 steps, and of
one.
"""

import argparse
import copy
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.tables import Table

RECIPES = ("text", "texts", "speakers", "series")
TRAINED: Mapping[str, tuple[str, str, Mapping[str, object]]] = {
    "text, Time Machine": ("text", "timemachine/timemachine.txt", {}),
    "texts, SST-2": ("texts", "sst2", {}),
    "texts, SST-2, without n-grams": ("texts", "sst2", {"ngrams": 0}),
    "speakers, Japanese vowels": ("speakers", "japanese_vowels/JapaneseVowels_TRAIN.ts", {}),
    "music, JSB chorales": ("music", "polymusic/JSB_Chorales.mat", {}),
    "series, airline passengers": ("series", "series/airline-passengers.csv", {}),
    "series, sunspots": ("series", "series/monthly-sunspots.csv", {}),
}
"""The recipe, its data within the folder of data sets, and the settings that are not its default."""
SMALL = 0.01
"""The largest relative change of a measure that is wanted."""
CONSTANT = ("naive_mae",)  # measures that do not depend on the network
SIZES, STEPS, ROUNDS = (256, 512, 1024), 100, 15


def rows(path: Path, title: str = "") -> Iterator[list[str]]:
    """The measures of a model's last part of data: as it is, in eight bits, and with products in bfloat16."""
    import gatewright as gw
    from gatewright.nn import Recurrent
    from gatewright.tasks.answers.evaluate import evaluate

    model = gw.tasks.open(path).model
    copies = {"int8": gw.nn.quantize(model.network).model, "bfloat16": copy.deepcopy(model.network).eval()}
    for layer in copies["bfloat16"].modules():
        if isinstance(layer, Recurrent):
            layer.backend, layer.products = "llvm", "bfloat16"
    part, exact = list(evaluate(model).items())[-1]
    narrow = {name: evaluate(replace(model, network=network))[part] for name, network in copies.items()}
    for measure, value in exact.items():
        if measure in CONSTANT:
            continue
        changes = [(result[measure] - value) / abs(value) if value else 0.0 for result in narrow.values()]
        small = "yes" if all(abs(change) < SMALL for change in changes) else "no"
        pairs = zip(narrow.values(), changes, strict=True)
        cells = [cell for result, change in pairs for cell in (f"{result[measure]:.5g}", f"{change:+.2%}")]
        yield [f"{title or model.recipe.name}, {part} {measure}", f"{value:.5g}", *cells, small]


def table(paths: Mapping[Path, str]) -> Table:
    """All measures of all models, with their titles."""
    found = [row for path, title in paths.items() for row in rows(path, title)]
    head = ["", "float32", "int8", "change", "bfloat16", "change", f"below {SMALL:.0%}"]
    return Table("Weights in fewer bits", head, found)


def trained(data: Path, out: Path) -> dict[Path, str]:
    """The runs of TRAINED, which are trained if they are not in `out`."""
    import gatewright as gw

    runs: dict[Path, str] = {}
    for title, (recipe, source, settings) in TRAINED.items():
        folder = out / "".join(letter if letter.isalnum() else "-" for letter in title.lower())
        if not (folder / "model.safetensors").is_file():
            gw.tasks.train(recipe, data=data / source, out=folder, **settings)
        runs[folder] = title
    return runs


def speed(steps: int = STEPS) -> Table:
    """Single rows of so many steps without gradients, one thread, run in turn; the least time and the error."""
    import torch

    import gatewright as gw

    torch.set_num_threads(1)
    gw.set_num_threads(1)
    found: list[list[str]] = []
    for kind in ("GRU", "LSTM"):
        for size in SIZES:
            torch.manual_seed(0)
            plain, x = getattr(torch.nn, kind)(size, size).eval(), torch.randn(steps, 1, size)
            ours = getattr(gw.nn, kind)(size, size).eval()
            ours.load_state_dict(plain.state_dict())
            with warnings.catch_warnings(action="ignore"):  # deprecated, and there is no other for recurrent layers
                theirs: Any = torch.ao.quantization.quantize_dynamic(
                    torch.nn.Sequential(plain), {type(plain)}, dtype=torch.qint8
                )[0]
            layers = {"float32": ours, "int8": gw.nn.quantize(ours).model, "torch.ao": theirs, "torch": plain}
            found.append([f"{kind} {size}", *_timed(layers, x, copy.deepcopy(plain).double())])
    head = ["", "float32 us", "int8 us", "torch.ao us", "torch float32 us", "int8 error", "torch.ao error"]
    extent = f"{steps} step{'s' if steps > 1 else ''} of one row in a call"
    note = f"Microseconds a step, {extent}, as many inputs as units. Errors: the root mean square difference to "
    note += "float64, as a share of the outputs."
    return Table("Single rows in eight bits", head, found, (note,))


def _timed(layers: Mapping[str, Any], x: Any, exact: Any) -> list[str]:
    import torch

    with torch.inference_mode():
        want = exact(x.double())[0]
        errors = {name: (layer(x)[0] - want).norm() / want.norm() for name, layer in layers.items() if name != "torch"}
        least, calls = dict.fromkeys(layers, float("inf")), STEPS // len(x)
        for _ in range(ROUNDS):
            for name, layer in layers.items():
                begin = time.perf_counter()
                for _ in range(calls):
                    layer(x)
                least[name] = min(least[name], time.perf_counter() - begin)
    times = [f"{seconds / calls / len(x) * 1e6:.1f}" for seconds in least.values()]
    return [*times, f"{errors['int8']:.2%}", f"{errors['torch.ao']:.2%}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quantised_models", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="a run's folder, or a model file")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="train recipes on the data sets in this folder")
    parser.add_argument("--out", type=Path, default=Path("runs/quantised"), metavar="FOLDER", help="of these runs")
    parser.add_argument("--speed", action="store_true", help="time single rows beside torch.ao")
    parser.add_argument("--markdown", action="store_true", help="print the table for a document")
    options = parser.parse_args(arguments)

    def show(result: Table) -> None:
        print(result.markdown() if options.markdown else result.text())

    if options.speed:
        show(speed())
        show(speed(steps=1))
    elif options.data:
        show(table(trained(options.data, options.out)))
    elif options.runs:
        show(table(dict.fromkeys(options.runs, "")))
    else:
        import gatewright as gw

        with tempfile.TemporaryDirectory() as folder:
            runs = [gw.tasks.train(name, out=Path(folder) / name, quick=True).folder for name in RECIPES]
            show(table(dict.fromkeys((run for run in runs if run), "")))


if __name__ == "__main__":
    main()
