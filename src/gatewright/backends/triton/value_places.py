"""Where the kernels of stages find values: the arrays, and the lines in them.

Kernels of steps that round the operands of products also keep rounded copies of what the loop writes and its products
read. A program reads all features of its rows at every step, so a copy halves the larger part of what it reads where
there are many rows.
"""

from dataclasses import dataclass

from gatewright.axes import Shape
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.schedule.program import Product, Program, Storage, Store


@dataclass(frozen=True, slots=True)
class ValuePlace:
    """The array that holds a value, and the variable with the line from which `rows` are counted in it ("": none)."""

    argument: Argument
    lead: str


def place_of(program: Program, name: str) -> ValuePlace:
    """Where a kept value is found."""
    match program.storage[name]:
        case Storage.STATE:
            return ValuePlace(Argument(ArgumentKind.STATE, name), "before")
        case Storage.NEW:
            return ValuePlace(Argument(ArgumentKind.STATE, program.new_values[name]), "after")
        case Storage.ROW:
            return ValuePlace(Argument(ArgumentKind.ROW, name), "")
        case Storage.SHARED:
            return ValuePlace(Argument(ArgumentKind.SHARED, name), "")
        case Storage.RANDOM:
            return ValuePlace(Argument(ArgumentKind.SEEDS, name), "lead")
        case Storage.INPUT | Storage.SEQUENCE:
            return ValuePlace(Argument(ArgumentKind.SEQUENCE, name), "lead")


def stored_place(program: Program, store: Store) -> tuple[ValuePlace, Shape]:
    """Where a store writes to, and the shape of a row there."""
    if store.storage is Storage.STATE:
        shape = next(state.shape for state in program.trace.states if state.name == store.name)
        return ValuePlace(Argument(ArgumentKind.STATE, store.name), "after"), shape
    return place_of(program, store.name), program.shapes[store.name]


def product_argument(product: Product) -> Argument:
    """The array of a product that is computed for all lines before the kernel that uses it: (time, batch, features)."""
    return Argument(ArgumentKind.SEQUENCE, f"product({product.target.name})")


def copied_arrays(program: Program, precision: KernelPrecision) -> frozenset[Argument]:
    """The arrays of which there are rounded copies."""
    if precision.operands == precision.numbers:
        return frozenset()
    stages = program.loop
    written = {stored_place(program, store)[0].argument for stage in stages for store in stage.stores}
    terms = (term for stage in stages for product in stage.products for term in product.terms)
    return frozenset(written & {place_of(program, term.vector.name).argument for term in terms})


def copied_place(place: ValuePlace) -> ValuePlace:
    """Where the copy of a value is found: of one step, and of a state before and after it."""
    lead = f"copy_{place.lead}" if place.argument.kind is ArgumentKind.STATE else ""
    return ValuePlace(Argument(ArgumentKind.COPY, place.argument.name), lead)


COPY_LINES = (
    "even = (t & 1) * B",
    "odd = B - even",
    "copy_before = odd if BACKWARDS else even",
    "copy_after = even if BACKWARDS else odd",
)
"""What defines the lines in copies of states: the slots of even and of odd times are used in turn."""
