"""How fast layers run on a GPU, beside cuDNN and torch, operation by operation.

    python -m benchmarks.gpu [--quick] [--minutes N] [--only SECTION,...] [--out FILE]

- layers: cells by units, rows, steps and dtype; the forward run, a training step, a second derivative. A method is
  timed only if its numbers agree with those of torch in float64.
- forms: the loop of a GRU and an LSTM in each form of kernel, in microseconds a step: the table by which a form is
  chosen.
- scan: a linear recurrence of 8 rows, 1,536 units and 4,096 steps, for which accelerated-scan publishes 0.714 ms.
- networks: tokens a second of a text model of The Time Machine's size, for which Dive into Deep Learning published
  14,693 and 194,937 on a GPU of 2020.

Cases are in the order of their importance; those for which no time is left are named in the result. With --quick all is
small: whether it works, not how fast. Where there is no GPU, --quick runs in Triton's interpreter (TRITON_INTERPRET=1).
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import command
from benchmarks.files import save
from benchmarks.setup import tell

if TYPE_CHECKING:
    from benchmarks.gpu_device import BenchmarkDevice
    from benchmarks.names import Record

RESULT = Path(__file__).resolve().parent.parent / "docs" / "gpu.json"
SECTIONS = ("layers", "forms", "scan", "networks")
PUBLISHED = {
    "FlashRNN 2024: LSTM, H100, 16 rows, 1,024 steps, forward, us a step": {"64 units": 1.9, "128 units": 3.2},
    "FlashRNN 2024: cuDNN float16, the same, forward": {"768 units": 2.0},
    "FlashRNN 2024: the same, forward and backward": {"fused": 13.3, "cuDNN": 5.1},
    "accelerated-scan: (8, 1536, 4096), forward, ms": {"A100": 0.714},
    "Dive into Deep Learning 2020: The Time Machine, tokens a second": {"from scratch": 14693, "concise": 194937},
}
"""Figures of others, and what they were measured for."""

Case = tuple[str, Callable[[], "Record"]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the result."""
    options = _parser().parse_args(arguments)
    from benchmarks.gpu_device import BenchmarkDevice, Clock

    clock = Clock(60 * options.minutes)
    try:
        on = BenchmarkDevice.present(quick=options.quick)
    except RuntimeError as error:
        sys.exit(f"python -m benchmarks.gpu: {error}")
    result: dict[str, Any] = {"device": on.description(), "published": PUBLISHED, "sections": {}, "left_out": []}
    for section in options.only:
        records = result["sections"].setdefault(section, list["Record"]())
        for title, measure in _cases(section, on, quick=options.quick):
            if clock.is_over:
                result["left_out"].append(f"{section}: {title}")
                continue
            records.append(measure())
            save(options.out, result)  # what was measured is kept, whatever happens next
    save(options.out, result)
    if result["left_out"]:
        tell(f"no time was left for {len(result['left_out'])} cases: --minutes gives more")


def _cases(section: str, on: "BenchmarkDevice", *, quick: bool) -> Iterator[Case]:
    from benchmarks import gpu_layers, gpu_loops, gpu_networks

    if section == "layers":
        for case in gpu_layers.layer_cases(quick=quick):
            yield case.title, lambda case=case: gpu_layers.measured_layer(case, on)
    elif section == "forms":
        for form in gpu_loops.form_cases(quick=quick):
            yield form.title, lambda form=form: gpu_loops.measured_forms(form, on)
    elif section == "scan":
        yield "scan", lambda: gpu_loops.measured_scan(on, quick=quick)
    else:
        yield "text", lambda: gpu_networks.measured_text(on, quick=quick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few and small cases: whether all works, not how fast")
    parser.add_argument("--minutes", type=float, default=8.0, metavar="N", help="begin nothing new after (default: 8)")
    parser.add_argument(
        "--only",
        type=lambda text: command.sections(text, SECTIONS),
        default=list(SECTIONS),
        metavar="SECTION,...",
        help=f"of {', '.join(SECTIONS)}",
    )
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE", help="default: docs/gpu.json")
    return parser


if __name__ == "__main__":
    main()
