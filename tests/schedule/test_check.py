"""The checker of Programs sees every way in which a plan can be wrong."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gatewright import cells, layer_norm
from gatewright.derive import vjp
from gatewright.lang.ops import Op
from gatewright.schedule.check import ProgramError, check
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Program, RowSum, Stage, Storage, Store, Term, Time
from gatewright.trace import Equation, Literal, Var, simplify, trace_cell

GRU = plan(simplify(trace_cell(cells.gru)))
NORMED = plan(simplify(trace_cell(layer_norm(cells.elman))))
FAST = plan(simplify(trace_cell(cells.fastgrnn)))
GRADIENT = plan(vjp(simplify(trace_cell(cells.antisymmetric_rnn))))
SCANS = Choices(time=Time.SCAN)
SCANNED = plan(simplify(trace_cell(cells.scrn)), SCANS)
SCANNED_GRADIENT = plan(vjp(simplify(trace_cell(cells.sru))), SCANS)
RIGHT = (GRU, NORMED, GRADIENT, SCANNED, SCANNED_GRADIENT)
X, H = Var("x", ("input",)), Var("h", ("hidden",))


def change(program: Program, name: str, index: int, **changes: object) -> Program:
    """The program with one stage changed."""
    stages: list[Stage] = list(dict(program.passes())[name])
    stages[index] = replace(stages[index], **changes)
    return replace(program, **{name: tuple(stages)})


def without_store(program: Program, name: str, index: int, value: str) -> Program:
    stores = dict(program.passes())[name][index].stores
    return change(program, name, index, stores=tuple(one for one in stores if one.name != value))


def with_stores(program: Program, name: str, index: int, *more: Store) -> Program:
    return change(program, name, index, stores=(*dict(program.passes())[name][index].stores, *more))


def with_equation(program: Program, name: str, index: int, equation: Equation) -> Program:
    return change(program, name, index, equations=(*dict(program.passes())[name][index].equations, equation))


def with_scan(**changes: object) -> Program:
    """The program whose scan is another one."""
    (scan,) = SCANNED.scan[0].scans
    return change(SCANNED, "scan", 0, scans=(replace(scan, **changes),))


def with_term(term: Term) -> Program:
    """The GRU whose first product in the loop multiplies something else."""
    first, *others = GRU.loop[0].products
    return change(GRU, "loop", 0, products=(replace(first, terms=(term,)), *others))


WRONG: dict[str, Callable[[], Program]] = {
    "'gru', stage 0 of the pass 'loop': %3|values that can be read there|%3+0.0": lambda: without_store(
        GRU, "before", 0, "%3+0.0"
    ),
    "'gru', stage 1 of the pass 'loop': %10|values that can be read there|%9": lambda: without_store(
        GRU, "loop", 0, "%9"
    ),
    "'gru', the end: what was stored|row %9, row z, sequence %12+0.0, sequence %3+0.0, sequence %7+0.0, state h"
    "|row %9, row z, sequence %12+0.0, sequence %3+0.0, sequence %7+0.0": lambda: without_store(GRU, "loop", 1, "h"),
    "'gru', stage 1 of the pass 'loop': state h|to be stored once|": lambda: with_stores(
        GRU, "loop", 1, Store(GRU.trace.next_states[0], "h", Storage.STATE)
    ),
    "'gru', stage 1 of the pass 'loop': the new h|the trace's own|": lambda: replace(
        GRU, loop=(GRU.loop[0], replace(GRU.loop[1], stores=(Store(H, "h", Storage.STATE),)))
    ),
    "'gru', stage 0 of the pass 'loop': where z is stored|row|sequence": lambda: change(
        GRU, "loop", 0,
        stores=tuple(replace(one, storage=Storage.SEQUENCE) if one.name == "z" else one for one in GRU.loop[0].stores),
    ),
    "'gru', stage 1 of the pass 'loop': where n is stored|None|sequence": lambda: with_stores(
        GRU, "loop", 1, Store(Var("n", ("hidden",)), "n", Storage.SEQUENCE)
    ),
    "'gru', stage 0 of the pass 'before': where %3+0.0 is stored|row|row": lambda: replace(
        change(GRU, "before", 0, stores=tuple(replace(one, storage=Storage.ROW) for one in GRU.before[0].stores)),
        storage={**GRU.storage, "%3+0.0": Storage.ROW},
    ),
    "'gru', stage 0 of the pass 'loop': %1|values that can be read there|r": lambda: with_term(
        Term("U.r", False, Var("r", ("hidden",)))
    ),
    "'gru', stage 0 of the pass 'loop': the matrix z of %1|a matrix of parameters|": lambda: with_term(
        Term("z", False, H)
    ),
    "'gru', stage 0 of the pass 'loop': the shape of W.r|(hidden, hidden)|(hidden, input)": lambda: with_term(
        Term("W.r", False, H)
    ),
    "'gru', stage 0 of the pass 'loop': the shape of U.r|(hidden, input)|(hidden, hidden)": lambda: with_term(
        Term("U.r", True, X)
    ),
    "'gru', stage 0 of the pass 'before': the shape of %0|(input)|(hidden)": lambda: change(
        GRU, "before", 0, axis="input"
    ),
    "'gru', stage 0 of the pass 'loop': the shape of x|(hidden)|(input)": lambda: with_equation(
        GRU, "loop", 0, Equation(X, Op.TANH, (X,))
    ),
    "'gru', stage 0 of the pass 'loop': y = sum|an operation on single elements|": lambda: with_equation(
        GRU, "loop", 0, Equation(Var("y", ()), Op.SUM, (H,))
    ),
    "'gru', stage 0 of the pass 'loop': the shape of y|(hidden)|()": lambda: with_equation(
        GRU, "loop", 0, Equation(Var("y", ()), Op.TANH, (H,))
    ),
    "'gru', stage 0 of the pass 'loop': y = add|operands of one shape, or scalars|": lambda: with_equation(
        GRU, "loop", 0, Equation(Var("y", ("hidden",)), Op.ADD, (H, X))
    ),
    "'gru', stage 0 of the pass 'before': the state h|read in the loop or after it, and written by then|": lambda: (
        with_equation(GRU, "before", 0, Equation(Var("y", ("hidden",)), Op.TANH, (H,)))
    ),
    "'gru', stage 0 of the pass 'before': %1|values that can be read there|%9": lambda: change(
        GRU, "before", 0, products=(replace(GRU.loop[0].products[0], terms=GRU.loop[1].products[0].terms),)
    ),
    "'gru', what is done once: the storage of x|that of a leaf|": lambda: replace(
        GRU, storage={**GRU.storage, "x": Storage.ROW}
    ),
    "'gru', what is done once: the shape of b.r|(hidden)|(input)": lambda: replace(
        GRU, shapes={**GRU.shapes, "b.r": ("input",)}
    ),
    "'layer_norm(elman)', stage 1 of the pass 'loop': %3|a stage of nothing but sums of vectors|": lambda: change(
        NORMED, "loop", 1, equations=(Equation(Var("y", ()), Op.TANH, (Literal(1.0),)),)
    ),
    "'fastgrnn', what is done once: a|values that can be read there|b": lambda: replace(
        FAST, prologue=(Equation(Var("a", ()), Op.TANH, (Var("b", ()),)), *FAST.prologue)
    ),
    "'fastgrnn', stage 0 of the pass 'loop': %6|values that can be read there|%4": lambda: replace(FAST, prologue=()),
    "'scrn', stage 0 of the pass 'scan': s'|values that can be read there|r": lambda: with_scan(
        slope=Var("r", ("context",))
    ),
    "'scrn', stage 0 of the pass 'scan': the shape of s'|(context)|(hidden)": lambda: with_scan(
        target=Var("s'", ("hidden",))
    ),
    "'scrn', stage 0 of the pass 'scan': the shape of b.h|(context)|(hidden)": lambda: with_scan(
        offset=Var("b.h", ("hidden",))
    ),
    "'scrn', stage 0 of the pass 'scan': the scan of h|to give its new value|": lambda: with_scan(state=H),
    "'scrn', stage 0 of the pass 'scan': the state s|read in the loop or after it, and written by then|": lambda: (
        with_scan(offset=Var("s", ("context",)))
    ),
    "'scrn', stage 0 of the pass 'scan': the state h|read in the loop or after it, and written by then|": lambda: (
        change(SCANNED, "scan", 0, equations=(Equation(Var("y", ("hidden",)), Op.TANH, (H,)),), axis="hidden")
    ),
    "'scrn', stage 0 of the pass 'loop': the scan of s|in the pass 'scan'|loop": lambda: change(
        SCANNED, "loop", 0, scans=SCANNED.scan[0].scans
    ),
    "'scrn', stage 0 of the pass 'scan': %3|values that can be read there|s'": lambda: replace(
        SCANNED, scan=SCANNED.scan[1:]
    ),
    "'d(antisymmetric_rnn)', the end: total 1|values that can be read there|total 0": lambda: replace(
        GRADIENT, epilogue=GRADIENT.epilogue[1:]
    ),
    "'d(antisymmetric_rnn)', the end: what is summed|values that can be read there|total 1": lambda: replace(
        GRADIENT, epilogue=()
    ),
    "'d(antisymmetric_rnn)', the end: sum of %12|values that can be read there|nothing": lambda: replace(
        GRADIENT, row_sums=(*GRADIENT.row_sums, RowSum(Var("sum of %12", ()), Var("nothing", ("hidden",))))
    ),
    "'d(antisymmetric_rnn)', the end: the shape of y|(hidden, input)|(hidden)": lambda: replace(
        GRADIENT, row_sums=(*GRADIENT.row_sums, RowSum(Var("y", ("hidden",)), H, X))
    ),
}  # fmt: skip


def test_right_programs_pass() -> None:
    for program in RIGHT:
        check(program)


@pytest.mark.parametrize("message", WRONG)
def test_wrong_programs_do_not(message: str) -> None:
    what, expected, got = message.split("|")
    with pytest.raises(ProgramError) as caught:
        check(WRONG[message]())
    found = caught.value
    assert (found.problem, found.expected, found.got or "") == (f"program of {what}", expected, got)


def test_each_store_is_missed() -> None:
    for program in RIGHT:
        for name, stages in program.passes():
            for index, stage in enumerate(stages):
                for store in stage.stores:
                    with pytest.raises(ProgramError):
                        check(without_store(program, name, index, store.name))


def test_each_equation_and_product_is_missed() -> None:
    for program in RIGHT:
        for name, stages in program.passes():
            for index, stage in enumerate(stages):
                for part in ("products", "equations", "reductions", "scans"):
                    works = getattr(stage, part)
                    for left_out in works:
                        kept = tuple(work for work in works if work is not left_out)
                        with pytest.raises(ProgramError):
                            check(change(program, name, index, **{part: kept}))


def test_stages_in_another_order_are_refused() -> None:
    for program in (GRU, NORMED):
        with pytest.raises(ProgramError):
            check(replace(program, loop=program.loop[::-1]))
