"""How fast layers run on a GPU, beside cuDNN and torch: everything that a first run on a new GPU should tell.

    python -m benchmarks.gpu [--quick] [--minutes N] [--only SECTION,...] [--out FILE]

A method is timed only if its numbers agree with those of torch in float64, or of a peer that does. Sections, the most
valuable first; each has a part of the time, and what one leaves over the next ones have:

- layers: GRU and LSTM by units and dtype, forward and training, beside cuDNN.
- forms: the loop of a GRU and an LSTM by each form of kernel: the table by which a form is chosen.
- networks: tokens a second of a text model of The Time Machine's size.
- scan: a linear recurrence of 8 rows, 1,536 units and 4,096 steps.
- newton: diagonal cells by Newton's iterations beside their loop.
- persistent: the loop of a GRU as one launch whose programs wait for each other.
- variations: cells that cuDNN does not have. twice: second derivatives.
- directions: layers in both directions, on two streams and one after the other.
- extents: few and many rows, few and many steps, exact float32, and the shapes that others publish.
- random: what dropout and zoneout cost.
- starts: the first call of a process, with kernels compiled and with kernels from disk.
- compiled: beside a step that torch.compile has compiled.

Kernels are compiled first, by several processes. Each case runs in a process that may crash or hang without harm to the
others, and the result is written after each. With --quick all is small: whether it works, not how fast. Then nothing is
written without --out, and where there is no GPU, Triton's interpreter runs the kernels.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import command
from benchmarks.files import save
from benchmarks.gpu_worker import NO_ANSWER, Job, Worker, cases
from benchmarks.setup import tell

RESULT = Path(__file__).resolve().parent.parent / "docs" / "gpu.json"
SECTIONS = {
    "layers": 0.24,
    "forms": 0.10,
    "networks": 0.04,
    "scan": 0.03,
    "newton": 0.06,
    "persistent": 0.05,
    "variations": 0.09,
    "twice": 0.05,
    "directions": 0.03,
    "extents": 0.07,
    "random": 0.04,
    "starts": 0.08,
    "compiled": 0.12,
}
"""Each with its part of the time."""
COMPILED_FIRST = ("layers", "forms", "variations", "extents", "directions")
PREPARATION = 0.15
"""The part of the time in which kernels may be compiled before anything is measured."""
MOST_PROCESSES, MOST_HANGS = 12, 2
CASE_SECONDS = 75.0
"""What a case may take before its process is ended; torch.compile takes the longest."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the result."""
    options = _parser().parse_args(arguments)
    _require_device(quick=options.quick)
    from benchmarks.gpu_arithmetic import PUBLISHED

    result: dict[str, Any] = {"published": PUBLISHED, "sections": {}, "left_out": []}
    began, whole = time.monotonic(), 60 * options.minutes
    out: Path | None = options.out or (None if options.quick else RESULT)
    worker = Worker(quick=options.quick)
    try:
        result["device"] = worker.measure(("device", 0, False), CASE_SECONDS)
        _keep(out, result)
        tell(f"on {result['device'].get('name', result['device'])}")
        end = began + PREPARATION * whole
        result["prepared"] = prepare(options.only, quick=options.quick, end=end)
        for section in options.only:
            end += SECTIONS[section] / sum(SECTIONS[one] for one in options.only) * (1 - PREPARATION) * whole
            for record in measured(worker, section, quick=options.quick, end=end, left_out=result["left_out"]):
                result["sections"].setdefault(section, []).append(record)
                result["seconds"] = round(time.monotonic() - began, 1)
                _keep(out, result)  # what was measured is kept, whatever happens next
    finally:
        worker.stop()
    _keep(out, result)
    if result["left_out"]:
        tell(f"no time was left for {len(result['left_out'])} cases: --minutes gives more")


def _keep(out: Path | None, result: dict[str, Any]) -> None:
    if out:
        save(out, result)


def measured(worker: Worker, section: str, *, quick: bool, end: float, left_out: list[str]) -> Iterator[dict[str, Any]]:
    """The records of a section, as far as there is time until `end`; what hangs twice may hang always."""
    hung = 0
    for number, case in enumerate(cases(section, quick)):
        title = str(case)
        if time.monotonic() > end or hung == MOST_HANGS:
            left_out.append(f"{section}: {title}")
            continue
        record = worker.measure((section, number, False), CASE_SECONDS)
        if "error" in record:
            hung += record["error"].startswith(NO_ANSWER)
            record = {"case": title, **record}
            tell(f"{section}: {title}: {record['error']}")
        yield record


def prepare(sections: Sequence[str], *, quick: bool, end: float) -> dict[str, Any]:
    """Compile the kernels of cases, several at a time, until `end`: how many, and what went wrong."""
    began = time.monotonic()
    jobs: list[Job] = [
        (section, number, True)
        for section in sections
        if section in COMPILED_FIRST
        for number in range(1 if quick else len(cases(section, quick)))
    ]
    count = 1 if quick else max(1, min(MOST_PROCESSES, (os.cpu_count() or 4) - 2, len(jobs)))
    todo, errors, done = iter(jobs), list[str](), list[Job]()

    def work() -> None:
        worker = Worker(quick=quick)
        try:
            for job in todo:  # a generator of a list: one thread takes each job
                if time.monotonic() > end:
                    return
                record = worker.measure(job, CASE_SECONDS)
                done.append(job)
                if "error" in record:
                    errors.append(f"{job[0]}: {cases(job[0], quick)[job[1]]}: {record['error']}")
        finally:
            worker.stop()

    with ThreadPoolExecutor(count) as threads:
        for future in [threads.submit(work) for _ in range(count if jobs else 0)]:
            future.result()
    seconds = round(time.monotonic() - began, 1)
    tell(f"kernels of {len(done)} of {len(jobs)} cases compiled in {seconds} s by {count} processes")
    return {"cases": len(done), "of": len(jobs), "seconds": seconds, "processes": count, "errors": errors}


def _require_device(*, quick: bool) -> None:
    """End the program where there is nothing to measure on."""
    from benchmarks.gpu_device import BenchmarkDevice

    try:
        BenchmarkDevice.present(quick=quick)
    except RuntimeError as error:
        sys.exit(f"python -m benchmarks.gpu: {error}")


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
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: docs/gpu.json; none with --quick")
    return parser


if __name__ == "__main__":
    main()
