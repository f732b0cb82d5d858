"""The checker of Programs, run on every plan: what a stage reads is there when it reads it."""

from collections.abc import Iterable, Mapping

from gatewright.axes import Shape, show_shape
from gatewright.errors import GatewrightError
from gatewright.lang.ops import ELEMENTWISE, Op, UnfitShapesError, result_shape
from gatewright.schedule.passes import axis_classes
from gatewright.schedule.program import Phase, Product, Program, Reduction, Scan, Stage, Storage, Store
from gatewright.trace.ir import Atom, Equation, Literal, Var

_IN_A_STAGE = ELEMENTWISE | {Op.EXPAND, Op.RELABEL}
_KEPT = frozenset({Storage.SEQUENCE, Storage.ROW})
_GIVEN = frozenset({Storage.INPUT, Storage.RANDOM, Storage.STATE, Storage.SHARED})


class ProgramError(GatewrightError, RuntimeError):
    """A Program that breaks a rule: a defect of the schedule, and never a reason to use another backend instead."""


def check(program: Program) -> None:
    """Hold every rule of a Program.

    - What a stage uses is given, computed there, or stored by an earlier stage in a place that can be read there.
    - Operands of products and reductions are whole: no value of their own stage.
    - A state is read in the loop or after it, or after the stage before the loop that gives it for all steps.
    - All that a stage computes lies along its axis, by operations on single elements.
    - Every store goes where `storage` says; everything that is kept is stored once, and so is every state.
    - What is given out and summed is there at the end.

    Raises ProgramError, which names the stage.
    """
    checker = _Checker(program)
    for phase, stages in program.passes():
        for index, stage in enumerate(stages):
            checker.check_stage(phase, index, stage)
        checker.leave_pass()
    checker.check_end()


class _Checker:
    """Goes through a Program in the order in which it is run."""

    def __init__(self, program: Program) -> None:
        self.program, self.here = program, "what is done once"
        self.next = {s.name: new for s, new in program.trace.updates()}
        self.next |= {scan.state.name: scan.target for stage in program.scan for scan in stage.scans}
        self.early: set[str] = set()  # states whose new values are stored before the loop
        self.late = {store.name for stage in program.after for store in stage.stores if store.storage is Storage.STATE}
        self.classes = axis_classes(program.trace)
        self.stored: set[tuple[Storage, str]] = set()
        self.visible = {leaf.name: leaf for leaf in program.trace.leaves()}
        for equation in program.prologue:
            self._check_equation(equation, self.visible)
            self.visible[equation.target.name] = equation.target
        for value in self.visible.values():
            self._require(program.storage.get(value.name) in _GIVEN, f"the storage of {value.name}", "that of a leaf")
            self._check_shape(value.name, program.shapes.get(value.name, ("nowhere",)), value.shape)

    def check_stage(self, phase: Phase, index: int, stage: Stage) -> None:
        """Hold the rules of one stage; what it stores can be read from then on."""
        self.here = f"stage {index} of the pass '{phase}'"
        for product in stage.products:
            self._check_product(product, stage)
        for reduction in stage.reductions:
            self._check_reduction(reduction, stage)
        values = self.visible | {work.target.name: work.target for work in (*stage.products, *stage.reductions)}
        for equation in stage.equations:
            self._check_equation(equation, values)
            self._check_along(equation, stage)
            values[equation.target.name] = equation.target
        for value in stage.reads():
            if isinstance(value, Var) and value.name in self.next:
                looped = phase in (Phase.LOOP, Phase.AFTER) and value.name not in self.late
                known = looped or (phase is Phase.SCAN and value.name in self.early)
                self._require(known, f"the state {value.name}", "read in the loop or after it, and written by then")
        for scan in stage.scans:
            self._check_scan(scan, stage, values, phase)
        values |= {scan.target.name: scan.target for scan in stage.scans}
        for store in stage.stores:
            self._check_store(store, values, in_loop=phase is Phase.LOOP)
        if phase in (Phase.BEFORE, Phase.SCAN):
            self.early |= {store.name for store in stage.stores if store.storage is Storage.STATE}

    def leave_pass(self) -> None:
        """What was kept within a step is gone after it."""
        storage = self.program.storage
        self.visible = {name: value for name, value in self.visible.items() if storage[name] is not Storage.ROW}

    def check_end(self) -> None:
        """Hold that all was stored, and that what is asked for is there."""
        program, self.here = self.program, "the end"
        wanted = {(Storage.STATE, name) for name in self.next}
        wanted |= {(storage, name) for name, storage in program.storage.items() if storage in _KEPT}
        self._require(self.stored == wanted, "what was stored", _listed(wanted), _listed(self.stored))
        self._check_defined("what is emitted", [value for _, value in program.trace.emits], self.visible)
        totals = {name: value for name, value in self.visible.items() if program.storage[name] is Storage.SHARED}
        for total in program.row_sums:
            operands = [total.left] if total.right is None else [total.left, total.right]
            self._check_defined(total.target.name, operands, self.visible)
            self._check_shape(total.target.name, total.target.shape, tuple(axis for v in operands for axis in v.shape))
            totals[total.target.name] = total.target
        for equation in program.epilogue:
            self._check_equation(equation, totals)
            totals[equation.target.name] = equation.target
        self._check_defined("what is summed", [value for _, value in program.sums], totals)

    def _check_product(self, product: Product, stage: Stage) -> None:
        name = product.target.name
        self._check_shape(name, product.target.shape, (stage.axis or "",))
        for term in product.terms:
            self._check_defined(name, [term.vector], self.visible)
            matrix = self.visible.get(term.matrix)
            is_shared = matrix is not None and self.program.storage[term.matrix] is Storage.SHARED
            self._require(is_shared, f"the matrix {term.matrix} of {name}", "a matrix of parameters")
            shape = () if matrix is None else matrix.shape[:: -1 if term.transposed else 1]
            self._check_shape(term.matrix, shape, (*product.target.shape, *term.vector.shape))

    def _check_reduction(self, reduction: Reduction, stage: Stage) -> None:
        name = reduction.target.name
        self._check_defined(name, [reduction.vector], self.visible)
        self._check_shape(name, reduction.target.shape, ())
        alone = stage.axis is None and not stage.products and not stage.equations
        self._require(alone and len(reduction.vector.shape) == 1, name, "a stage of nothing but sums of vectors")

    def _check_scan(self, scan: Scan, stage: Stage, values: Mapping[str, Var], phase: Phase) -> None:
        name, state = scan.target.name, scan.state
        self._require(phase is Phase.SCAN, f"the scan of {state.name}", "in the pass 'scan'", phase)
        self._require(
            self.program.new_values.get(name) == state.name, f"the scan of {state.name}", "to give its new value"
        )
        self._check_defined(name, [scan.slope, scan.offset], values)
        along = (stage.axis,) if stage.axis else ()
        for value in (state, scan.target):
            self._check_shape(value.name, value.shape, along)
        for value in (scan.slope, scan.offset):
            if isinstance(value, Var) and value.shape:
                self._check_shape(value.name, value.shape, along)

    def _check_equation(self, equation: Equation, values: Mapping[str, Var]) -> None:
        name = equation.target.name
        self._check_defined(name, equation.args, values)
        try:
            shape = result_shape(equation.op, tuple(arg.shape for arg in equation.args), equation.attrs)
        except UnfitShapesError as unfit:
            raise self._fault(f"{name} = {equation.op}", unfit.expected) from None
        self._check_shape(name, equation.target.shape, shape)

    def _check_along(self, equation: Equation, stage: Stage) -> None:
        name = equation.target.name
        self._require(equation.op in _IN_A_STAGE, f"{name} = {equation.op}", "an operation on single elements")
        for value in (equation.target, *equation.args):
            if value.shape:
                self._check_shape(name, value.shape, (stage.axis or "",))

    def _check_store(self, store: Store, values: Mapping[str, Var], *, in_loop: bool) -> None:
        self._check_defined(f"what is stored as {store.name}", [store.value], values)
        key = (store.storage, store.name)
        self._require(key not in self.stored, f"{store.storage} {store.name}", "to be stored once")
        self.stored.add(key)
        if store.storage is Storage.STATE:
            self._require(self.next.get(store.name) == store.value, f"the new {store.name}", "the trace's own")
            seen = isinstance(store.value, Var) and self.program.new_values.get(store.value.name) == store.name
        else:
            own, storage = getattr(store.value, "name", None) == store.name, self.program.storage.get(store.name)
            kept = storage is Storage.SEQUENCE or (storage is Storage.ROW and in_loop)
            there = own and storage is store.storage and kept
            self._require(there, f"where {store.name} is stored", str(storage), str(store.storage))
            seen = True
        if seen and isinstance(store.value, Var):
            self.visible[store.value.name] = store.value

    def _check_defined(self, what: str, used: Iterable[Atom], values: Mapping[str, Var]) -> None:
        for value in used:
            if not isinstance(value, Literal):
                self._require(values.get(value.name) == value, what, "values that can be read there", value.name)

    def _check_shape(self, name: str, shape: Shape, wanted: Shape) -> None:
        """Axes that the equations use for one another are as good as equal."""
        same = [self.classes.get(axis, axis) for axis in shape] == [self.classes.get(axis, axis) for axis in wanted]
        self._require(same, f"the shape of {name}", show_shape(wanted), show_shape(shape))

    def _require(self, holds: bool, what: str, expected: str, got: str | None = None) -> None:
        if not holds:
            raise self._fault(what, expected, got)

    def _fault(self, what: str, expected: str, got: str | None = None) -> ProgramError:
        return ProgramError(f"program of {self.program.trace.name!r}, {self.here}: {what}", expected=expected, got=got)


def _listed(stores: Iterable[tuple[Storage, str]]) -> str:
    return ", ".join(f"{storage} {name}" for storage, name in sorted(stores))
