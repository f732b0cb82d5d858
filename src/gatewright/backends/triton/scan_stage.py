"""A stage of scans, as the kernel of scans takes it: scans that may be coupled, and where values are found."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gatewright.axes import Shape
from gatewright.backends.triton.kernel_text import ArgumentKind
from gatewright.backends.triton.pass_kernels import without_products
from gatewright.schedule.fused import FusedScan
from gatewright.schedule.program import Program, Stage, Storage
from gatewright.trace.ir import Atom, Equation, Var

_KINDS = {
    Storage.INPUT: ArgumentKind.SEQUENCE,
    Storage.SEQUENCE: ArgumentKind.SEQUENCE,
    Storage.STATE: ArgumentKind.STATE,
    Storage.NEW: ArgumentKind.STATE,
    Storage.SHARED: ArgumentKind.SHARED,
}


@dataclass(frozen=True, slots=True)
class CoupledScan:
    """targets = slopes @ states + offsets for all steps, unit by unit, from the states before the first step.

    The n targets are the new values of the n states. `slopes` has n rows of n values. With one state it is the `Scan`
    of a Program.
    """

    targets: tuple[Var, ...]
    states: tuple[Var, ...]
    slopes: tuple[tuple[Atom, ...], ...]
    offsets: tuple[Atom, ...]

    def coefficients(self) -> Iterator[Atom]:
        """All slopes, then all offsets."""
        for row in (*self.slopes, self.offsets):
            yield from row


@dataclass(frozen=True, slots=True)
class ScanSource:
    """Where a stage finds a value: an array (time, batch, ...), a state before or after each step, a parameter, or the
    seeds of a random value that is 1 with a `probability`."""

    kind: ArgumentKind
    array: str
    is_after: bool = False
    probability: float = 0.0


@dataclass(frozen=True, slots=True)
class LargestMagnitude:
    """The largest magnitude over all steps of a value, or of its difference from another; infinite where one is NaN.

    `array` is the name of the array (batch, ...) that takes it for each row and feature.
    """

    array: str
    value: Atom
    less: Var | None = None


@dataclass(frozen=True, slots=True)
class ScanStage:
    """A stage whose scans may be coupled.

    - `stage`: its equations before the scans, and its stores. What its products give is loaded: it was computed for all
      steps before.
    - `sources`: of what the stage reads and does not compute.
    - `magnitudes`: what is measured of the values that the stage reads or computes.
    - `after`: the equations that need what the scans give.
    - `shifted`: the states of the scans that are read as they were before each step.
    """

    name: str
    stage: Stage
    scans: tuple[CoupledScan, ...]
    sources: Mapping[str, ScanSource]
    magnitudes: tuple[LargestMagnitude, ...] = ()
    after: tuple[Equation, ...] = ()
    shifted: tuple[Var, ...] = ()

    @property
    def equations(self) -> tuple[Equation, ...]:
        """All equations."""
        return (*self.stage.equations, *self.after)

    @property
    def states(self) -> tuple[Var, ...]:
        """The states of all scans."""
        return tuple(state for scan in self.scans for state in scan.states)

    @property
    def shape(self) -> Shape:
        """Of every state: along one axis, or a scalar."""
        return self.states[0].shape

    @property
    def span_values(self) -> int:
        """How many numbers make one step of many, for each row and feature: the slopes and offsets of all scans."""
        return sum(len(scan.states) * (len(scan.states) + 1) for scan in self.scans)

    def axes(self) -> tuple[str, ...]:
        """The axes of everything that the stage reads and computes: names of one axis."""
        values = [*self.states, *self.loads(), *(equation.target for equation in self.equations)]
        return tuple(dict.fromkeys(value.shape[0] for value in values if value.shape))

    def loads(self) -> Iterator[Var]:
        """What the stage reads and does not compute, each once."""
        stage = self.stage
        values = [arg for equation in self.equations for arg in equation.args]
        values += [atom for scan in self.scans for atom in scan.coefficients()]
        values += [store.value for store in stage.stores]
        values += [magnitude.value for magnitude in self.magnitudes]
        values += [magnitude.less for magnitude in self.magnitudes if magnitude.less]
        own = {equation.target.name for equation in self.equations} | {state.name for state in self.shifted}
        own |= {target.name for scan in self.scans for target in scan.targets}
        for value in dict.fromkeys(values):
            if isinstance(value, Var) and value.name not in own:
                yield value


def product_array(name: str) -> str:
    """The array that the product of this name is loaded from: where it is kept too, that is another array."""
    return f"product({name})"


def scan_stage(program: Program, fused: FusedScan) -> ScanStage:
    """Scans of a Program, and what is computed with them."""
    stage = without_products(fused.stage)
    sources = {
        name: ScanSource(_KINDS[storage], program.new_values.get(name, name), storage is Storage.NEW)
        for name, storage in program.storage.items()
        if storage in _KINDS
    }
    for noise in program.trace.noises:
        sources[noise.var.name] = ScanSource(ArgumentKind.SEEDS, noise.var.name, probability=noise.probability)
    for product in stage.products:
        sources[product.target.name] = ScanSource(ArgumentKind.SEQUENCE, product_array(product.target.name))
    scans = tuple(CoupledScan((scan.target,), (scan.state,), ((scan.slope,),), (scan.offset,)) for scan in stage.scans)
    return ScanStage(program.trace.name, stage, scans, sources, after=fused.after, shifted=fused.shifted)
