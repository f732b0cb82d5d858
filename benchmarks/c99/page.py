"""The page of a result."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

from benchmarks.tables import Table

RATE = 48_000
PUBLISHED = {
    "LSTM": {8: 140, 16: 65, 32: 23.6, 64: 6.46},
    "GRU": {8: 197, 16: 95.1, 32: 28.3, 64: 8.67},
}
"""The larger of the real-time factors that the files results/bench_xsimd.txt and results/bench_eigen.txt of
https://github.com/jatinchowdhury18/RTNeural-compare (commit 5672f91) give for the compile-time API."""

INTRODUCTION = """# C files

`gw.export.c99` and `gatewright export MODEL FILE.c` write a model as a header and a source in C99, which is C++ too.
They need no library, and no memory but a struct with the state; the header says how they are called, and what
their inputs and outputs mean: names of symbols, variables and classes, tokenisation, scaling.

```python
import gatewright as gw

files = gw.export.c99(gw.nn.Recurrent(gw.cells.gru, 1, 32), "amp.c")
print(files.header, files.source, files.state_bytes, files.constant_bytes)
```

```output
amp.h amp.c 128 13056
```

- **One step** of any cell: `amp_step(&state, x, y)`; `amp_reset(&state)` begins anew. Several layers stand one above
  the other. A model of a recipe has its encoding, pool and dense layer too. What reads a sequence from its end is
  refused.
- **Loops over units** are the inner ones, and matrices lie column by column, so that compilers use vectors without
  being allowed to change the order of sums. Tell them which: `-O3 -march=native`.
- **Functions**: with `math="own"` exp, tanh and their like are in the file, without branches, off by at most 3 units
  in the last place. With `math="libm"` those of math.h are called, one number at a time: a step takes two and a half
  to seven times as long.
- **Names**: `name`, or the file's name, stands in front of all that the files define. States, parameters and axes have
  the names that the equations give them, as far as C and C++ allow: `new` becomes `new2`, `é` becomes `e`.
- **Numbers**: float, or `dtype="float64"`. `weights="int8"` keeps matrices as whole numbers with a scale for each row
  and adds up in float; what that costs is measured when the files are written, on inputs given as `sample` or on
  random ones, and stands in the header.
- **Equal to the reference**: where a C compiler is found, the command compiles the files, runs them beside the NumPy
  reference and prints the largest difference.

The numbers below are measured again, and this page is made anew, by one command; RTNeural is a checkout with its
submodules:

```sh
python -m benchmarks.c99 --rtneural ../RTNeural
```
"""


def text(result: Mapping[str, Any]) -> str:
    """The page."""
    parts = [INTRODUCTION.rstrip(), *_speed(result["speed"]), *_size(result["size"]), *_int8(result["int8"])]
    return "\n\n".join(parts) + "\n"


def _speed(section: Mapping[str, Any]) -> list[str]:
    found, compilers = section["machine"], section["compilers"]
    notes = (
        f"How many seconds of sound at {RATE:,} Hz a second of computing gives: one input, a recurrent layer, a dense "
        f"layer to one output, in float, on one thread of {found['processor']}, measured on {found['date']} with "
        f"{compilers['gcc']} and {compilers['clang']}. Each number is the median of several runs that took turns. "
        "AVX2 stands for -march=x86-64-v3 -ffp-contract=fast, for both libraries; libm for `math='libm'`. All programs "
        f"gave the same outputs. RTNeural is measured at commit {section['commit']}, by its compile-time API, with the "
        "same weights. Its published factors are those of a layer alone, of as many inputs as units, on an Intel "
        "i7-8700B: the larger of those of xsimd and Eigen in [RTNeural-compare]"
        "(https://github.com/jatinchowdhury18/RTNeural-compare/tree/master/results) at commit 5672f91."
    )
    return ["## Real-time factors", fill(notes, 119), *(_speeds_of(kind, section) for kind in PUBLISHED)]


def _speeds_of(kind: str, section: Mapping[str, Any]) -> str:
    rows = [row for row in section["rows"] if row["kind"] == kind]
    labels = list(rows[0]["seconds"])
    lines = [
        [
            str(row["hidden"]),
            *(f"{1 / RATE / row['seconds'][label]:.0f}" for label in labels),
            f"{PUBLISHED[kind].get(row['hidden'], '')}",
        ]
        for row in rows
    ]
    return Table(kind, [f"{kind}, units", *labels, "RTNeural, published"], lines).markdown()


def _size(section: Mapping[str, Any]) -> list[str]:
    notes = (
        f"Bytes of the object file for a Cortex-M4, by {section['compiler']} with `{section['flags']}`: the same "
        "models. `text` holds code and constants, and goes to flash; nothing is in `data` and `bss`. The stack is what "
        "all functions of a step take together."
    )
    head = ["", "text", "of it code", "text, int8", "of it code", "data", "bss", "state", "stack", "stack, int8"]
    lines = [
        [
            f"{row['kind']} {row['hidden']}",
            *(str(n) for w in ("float32", "int8") for n in (row[w]["text"], row[w]["text"] - row[w]["constants"])),
            *(str(row["float32"][key] + row["int8"][key]) for key in ("data", "bss")),
            str(row["state"]),
            *(str(row[weights]["stack"]) for weights in ("float32", "int8")),
        ]
        for row in section["rows"]
    ]
    return ["## Size on a Cortex-M4", fill(notes, 119), Table("", head, lines).markdown()]


def _int8(section: Mapping[str, Any]) -> list[str]:
    notes = (
        "Models trained by `gatewright train RECIPE --quick`, run on a batch of the test data with their weights and "
        "with weights of eight bits: the error of the outputs as a share of their root mean square, how often the same "
        "output is the largest, and the metric. Sizes are those of all constants."
    )
    head = ["recipe", "rms error", "same largest", "metric", "float32", "int8", "bytes", "bytes, int8"]
    lines = [
        [
            row["recipe"],
            f"{row['share']:.2%}",
            f"{row['same']:.2%}",
            row["metric"],
            *(f"{row['scores'][weights]:.4f}" for weights in ("float32", "int8")),
            *(f"{row['constants'][weights]:,}" for weights in ("float32", "int8")),
        ]
        for row in section["rows"]
    ]
    return ["## Weights of eight bits", fill(notes, 119), Table("", head, lines).markdown()]
