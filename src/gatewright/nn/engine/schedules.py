"""What is derived from a Trace, and scheduled: made once, and read from disk by later processes.

Deriving and scheduling takes several milliseconds, as long as all else that a first call does when its kernels are on
disk. An entry is found by the text of the trace, by what was asked for, and by the digest of all sources that decide
about the result.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from gatewright.backends.llvm.jit.compile import describe_schedule
from gatewright.errors import TraceError
from gatewright.kernel_cache import schedule_cache
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Program
from gatewright.schedule.residuals import StepPair, save
from gatewright.schedule.serialized import DamagedError, Part, from_bytes, to_bytes
from gatewright.trace.ir import Trace
from gatewright.trace.simplify import simplify
from gatewright.trace.text import to_text

_MOST = 256  # of each kind, in memory
programs: dict[Trace, Program] = {}
"""Programs by their traces: those that were asked for, and those that an entry on disk holds beside what was."""


def planned(trace: Trace) -> Program:
    """The Program of a trace that is simple already: made once for all sizes, dtypes and layers.

    Raises TraceError where there is none.
    """
    program = programs.get(trace)
    return _kept(trace, plan(trace)) if program is None else program


def simplified(trace: Trace) -> Trace:
    """The trace, simplified. Where there is no Program of it, `planned` says so."""
    try:
        return simplified_and_planned(trace)[0]
    except TraceError:
        return simplify(trace)


@lru_cache(maxsize=_MOST)
def simplified_and_planned(trace: Trace) -> tuple[Trace, Program]:
    """The trace, simplified, and its Program.

    Raises TraceError where there is none.
    """
    (program,) = _from_disk(trace, "step", (), lambda: [plan(simplify(trace))])
    assert isinstance(program, Program)
    return program.trace, _kept(program.trace, program)


@lru_cache(maxsize=_MOST)
def step_pair(trace: Trace, seeded: tuple[str, ...]) -> StepPair:
    """`save`: a step that saves, and its gradient by the states in `seeded`. The trace is simple already."""

    def make() -> Sequence[Part]:
        pair = save(trace, seeded)
        return [plan(pair.forward), pair.backward]

    program, backward = _from_disk(trace, "pair", seeded, make)
    assert isinstance(program, Program)
    assert isinstance(backward, Trace)
    forward = program.trace
    _kept(forward, program)
    return StepPair(forward, backward, tuple(name for name, _ in forward.emits[len(trace.emits) :]))


@lru_cache(maxsize=_MOST)
def gradient_program(trace: Trace, seeded: tuple[str, ...], wanted: frozenset[str]) -> Program:
    """The Program of the gradient of a `step_pair`, without those of its results that are not `wanted`."""
    backward = step_pair(trace, seeded).backward
    emits = tuple((name, value) for name, value in backward.emits if name in wanted)
    sums = tuple((name, value) for name, value in backward.sums if name in wanted)
    is_whole = len(emits) == len(backward.emits) and len(sums) == len(backward.sums)

    def make() -> Sequence[Part]:
        return [plan(backward if is_whole else simplify(replace(backward, emits=emits, sums=sums)))]

    names = [name for name, _ in (*emits, *sums)]
    (program,) = _from_disk(trace, "gradient", (*seeded, "", *names), make)
    assert isinstance(program, Program)
    return program


def _kept(trace: Trace, program: Program) -> Program:
    if len(programs) >= _MOST:
        programs.clear()
    programs[trace] = program
    return program


@lru_cache(maxsize=_MOST)
def _text(trace: Trace) -> str | None:
    try:
        return to_text(trace)
    except TraceError:  # a name or a number that cannot be written
        return None


def _from_disk(trace: Trace, kind: str, names: tuple[str, ...], make: Callable[[], Sequence[Part]]) -> Sequence[Part]:
    """What an earlier process has made of a trace; else it is made now, and stored for later ones."""
    text = _text(trace)
    if text is None:
        return make()
    description, entries = describe_schedule(json.dumps([kind, *names, trace.order, text])), schedule_cache()
    data = entries.load(description)
    if data is not None:
        try:
            return from_bytes(data)
        except DamagedError as error:
            entries.reject(str(error))
    parts = make()
    entries.store(description, to_bytes(parts))
    return parts
