"""The options of a recurrent layer, checked: each function raises OptionError for a value that is not allowed."""

from collections.abc import Mapping
from functools import lru_cache

from gatewright import cells
from gatewright.axes import HIDDEN, INPUT, bind
from gatewright.backends.triton.newton import Newton
from gatewright.derive import vjp
from gatewright.errors import OptionError, OptionTypeError
from gatewright.lang import Cell
from gatewright.nn.engine.differentiable import OPERAND_DTYPES
from gatewright.schedule.linearized import unit_recurrence
from gatewright.trace import Trace, simplify, trace_cell
from gatewright.trace.mask import masked_trace

BACKENDS = ("auto", "llvm", "triton", "cudnn", "torch-fused", "torch")


def as_cell(cell: Cell | Trace | str) -> Cell | Trace:
    """A cell, given as a Cell, a Trace or a name of the catalogue."""
    if isinstance(cell, str):
        return cells.get(cell)
    if not isinstance(cell, Cell | Trace):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise OptionError(
            "cell is no cell",
            expected="a gatewright cell, the name of one in the catalogue, or a Trace",
            got=repr(cell),
            do="write the equations of one step as a function and put @gw.cell above it",
        )
    return cell


def trace_of(cell: Cell | Trace) -> Trace:
    """The Trace of a cell, or itself."""
    return cell if isinstance(cell, Trace) else trace_cell(cell)


def check_axes(trace: Trace, sizes: Mapping[str, int]) -> None:
    """Check that `sizes` names only axes that the cell has besides input and hidden."""
    own = [axis for axis in trace.axes() if axis not in (INPUT, HIDDEN)]
    for axis, size in sizes.items():
        if axis not in own:
            raise OptionError(
                f"sizes names an axis that cell {trace.name!r} does not have",
                expected=", ".join(own) or "no sizes besides input_size and hidden_size",
                got=repr(axis),
            )
        check_sizes({f"sizes[{axis!r}]": size})


def check_stacked(trace: Trace, first: Mapping[str, int], above: Mapping[str, int], num_layers: int) -> None:
    """Check that each state has one size in all levels, since it is passed as one tensor."""
    for state in trace.states if num_layers > 1 else ():
        sizes = [bind(state.shape, axes)[0] for axes in (first, above)]
        if sizes[0] != sizes[1]:
            raise OptionError(
                f"the state {state.name!r} of cell {trace.name!r} is as wide as the input, and the {num_layers} layers "
                "have inputs of two sizes",
                expected=f"an input_size of {sizes[1]}, as the layers above have, or num_layers=1",
                got=f"input_size={sizes[0]}",
                do="put layers of num_layers=1 above each other",
            )


def check_sizes(sizes: Mapping[str, object]) -> None:
    """Check that sizes are whole numbers of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, int) and not isinstance(size, bool) and size >= 1:
            continue
        error = OptionError if type(size) is int else OptionTypeError
        raise error(f"{name} is not a size", expected="a whole number of at least 1", got=repr(size))


def check_options(
    input_size: int, hidden_size: int, num_layers: int, dropout: float, backend: str, flags: Mapping[str, bool]
) -> None:
    """Check the options that every layer has; `flags` are those that are True or False."""
    check_sizes({"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers})
    for name, flag in flags.items():
        if not isinstance(flag, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise OptionTypeError(f"{name} is not a yes or no", expected="True or False", got=repr(flag))
    is_number = isinstance(dropout, int | float) and not isinstance(dropout, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_number or not 0 <= dropout <= 1:
        raise OptionError("dropout is not a probability", expected="from 0 to 1", got=repr(dropout))
    check_backend(backend)


def check_checkpoint(checkpoint: object) -> None:
    """Check that `checkpoint` is None, True, False or a number of steps."""
    if checkpoint is None or isinstance(checkpoint, bool) or (isinstance(checkpoint, int) and checkpoint >= 1):
        return
    error = OptionError if isinstance(checkpoint, int) else OptionTypeError
    raise error(
        "checkpoint is no number of steps",
        expected="True for stretches of sqrt(T) steps, their number of steps, or None to keep all saved values",
        got=repr(checkpoint),
    )


def check_products(products: object) -> None:
    """Check that `products` names a dtype of operands, or is None."""
    if products is None or (isinstance(products, str) and products in OPERAND_DTYPES):
        return
    error = OptionError if isinstance(products, str) else OptionTypeError
    raise error(
        "products is no dtype of operands",
        expected=" or ".join(map(repr, OPERAND_DTYPES)),
        got=repr(products),
        do="set layer.products = None for those of the layer's dtype",
    )


def newton_of(newton: object, trace: Trace) -> Newton | None:
    """The option `newton` of a layer: True is `Newton()`, False and None are none.

    Raises OptionError where the units of the cell do not recur each by itself.
    """
    if newton is None or newton is False:
        return None
    if newton is not True and not isinstance(newton, Newton):
        raise OptionTypeError(
            "newton is no way to do Newton's iterations",
            expected="True, gw.nn.Newton(...), or None for a loop",
            got=repr(newton),
        )
    obstacle = _newton_obstacle(trace)
    if obstacle:
        raise OptionError(
            f"a layer of cell {trace.name!r} cannot be solved by Newton's iterations",
            expected="a cell whose units recur each by itself: the Jacobian of a step is then one small matrix a unit, "
            "and not one of all units by all units",
            got=obstacle,
            do="leave out newton=; or write the recurrence with p.g * h in place of U.g @ h, and a state for each of "
            "the units that need one another",
        )
    return Newton() if newton is True else newton


@lru_cache(maxsize=64)
def _newton_obstacle(trace: Trace) -> str:
    """Why the steps of a cell, of its gradient, or with a mask cannot be solved at once; empty where they can."""
    for place, form in (("", trace), ("in its gradient, ", vjp(trace)), ("with a mask, ", masked_trace(trace))):
        obstacle = unit_recurrence(simplify(form)).obstacle
        if obstacle:
            return place + obstacle
    return ""


def check_backend(backend: str) -> None:
    """Check that there is a backend of that name."""
    if backend not in BACKENDS:
        raise OptionError(f"backend {backend!r} is not there", expected=" or ".join(BACKENDS), got=repr(backend))
