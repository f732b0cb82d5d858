"""A Program as text, for people and for golden files.

    program "rnn"
    input x(input)
    state h(hidden)
    param W.h(hidden, input)
    param U.h(hidden, hidden)

    before the loop, for all steps at once
      along hidden
        %0(hidden) = W.h @ x
        keep %0

    step by step
      along hidden
        %1(hidden) = U.h @ h
        %2(hidden) = add %1 %0
        h'(hidden) = tanh %2
        next h = h'

Values that are computed from parameters alone come first, under `once`. `keep` stores a value for every step, `hold`
until the end of the step. `sums over rows and steps` and `once, of the sums` end the gradient of a step.

Where states are known before the loop, they are under `by scans over all steps`: `h' = scan h: %3 * h + %5`.
"""

import json
from collections.abc import Iterable, Iterator

from gatewright.axes import show_shape
from gatewright.schedule.program import Phase, Product, Program, Reduction, RowSum, Scan, Stage, Storage, Store, Work
from gatewright.trace.ir import Atom, Literal, Role, Var

_TITLES = {
    Phase.BEFORE: "before the loop, for all steps at once",
    Phase.SCAN: "by scans over all steps",
    Phase.LOOP: "step by step",
    Phase.AFTER: "after the loop, for all steps at once",
}
_INDENT = "  "


def to_text(program: Program) -> str:
    """The text of a Program. It holds all that a code generator reads: Programs of one text are one Program."""
    return "".join(f"{line}\n" for line in _lines(program))


def _lines(program: Program) -> Iterator[str]:
    trace = program.trace
    yield f"program {json.dumps(trace.name)}"
    yield from (f"{role} {_declared(leaf)}" for role, leaf in trace.roles() if role is not Role.NOISE)
    yield from (f"{Role.NOISE} {_declared(noise.var)} {noise.probability!r} per {noise.per}" for noise in trace.noises)
    yield from _block("once", map(_work, program.prologue))
    for phase, stages in program.passes():
        yield from _block(_TITLES[phase], (line for stage in stages for line in _stage(stage)))
    yield from _block("sums over rows and steps", map(_row_sum, program.row_sums))
    totals = [*map(_work, program.epilogue), *(f"sum {name} = {_atom(value)}" for name, value in program.sums)]
    yield from _block("once, of the sums", totals)
    yield from _block("given out at every step", (f"emit {name} = {_atom(value)}" for name, value in trace.emits))


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines under a title; nothing where there are none."""
    inside = [f"{_INDENT}{line}" for line in lines]
    if inside:
        yield from ("", title, *inside)


def _stage(stage: Stage) -> Iterator[str]:
    if stage.axis:
        yield f"along {stage.axis}"
    else:
        yield "over features" if stage.reductions else "scalars"
    yield from (f"{_INDENT}{_work(work)}" for work in stage.works())
    yield from (f"{_INDENT}{_store(store)}" for store in stage.stores)


def _work(work: Work) -> str:
    return f"{_declared(work.target)} = {_computed(work)}"


def _computed(work: Work) -> str:
    if isinstance(work, Product):
        return " + ".join(f"{term.matrix}{'.T' if term.transposed else ''} @ {term.vector.name}" for term in work.terms)
    if isinstance(work, Reduction):
        return f"{work.op} {work.vector.name}"
    if isinstance(work, Scan):
        return f"scan {work.state.name}: {_atom(work.slope)} * {work.state.name} + {_atom(work.offset)}"
    attributes = (f"{key}={json.dumps(value)}" for key, value in work.attrs)
    return " ".join([work.op, *map(_atom, work.args), *attributes])


def _row_sum(total: RowSum) -> str:
    operands = total.left.name if total.right is None else f"{total.left.name} outer {total.right.name}"
    return f"{_declared(total.target)} = {operands}"


def _store(store: Store) -> str:
    if store.storage is Storage.STATE:
        return f"next {store.name} = {_atom(store.value)}"
    return f"{'keep' if store.storage is Storage.SEQUENCE else 'hold'} {store.name}"


def _declared(value: Var) -> str:
    return f"{value.name}{show_shape(value.shape)}"


def _atom(atom: Atom) -> str:
    return repr(atom.value) if isinstance(atom, Literal) else atom.name
