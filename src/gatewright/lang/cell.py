"""`@cell`: a recurrent cell is a plain function of its input, its states and its parameter spaces."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import CodeType, FunctionType
from typing import Any, NoReturn, overload

from gatewright.axes import HIDDEN, INPUT, OPEN, Shape
from gatewright.errors import CellError, OptionError
from gatewright.lang.delay import delay_line, moved_on
from gatewright.lang.display import TextDisplay
from gatewright.lang.param import Param
from gatewright.lang.symbol import ParameterSpace, Symbol

SpaceShape = tuple[str | None, ...]
"""The axes of every parameter of a space; None is taken from the operand at its first use."""

DEFAULT_SPACES: Mapping[str, Shape] = {
    "W": (HIDDEN, INPUT),
    "U": (HIDDEN, HIDDEN),
    "b": (HIDDEN,),
    "p": (HIDDEN,),
}
BIAS_SPACE = "b"


@dataclass(frozen=True, slots=True)
class Space:
    """A name space of parameters: their axes, and the constant that they start at (None: the layer's initialiser)."""

    shape: Shape
    initial: float | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What a person wants to know of a cell besides its equations."""

    title: str = ""
    paper: str = ""
    convention: str = ""
    differs: str = ""


@dataclass(frozen=True, slots=True)
class Operands:
    """What a cell's equations are given for one step."""

    inputs: Mapping[str, Symbol]
    states: Mapping[str, Symbol]
    spaces: Mapping[str, ParameterSpace]


Equations = Callable[[Operands], object]
Rebind = Callable[[Mapping[str, object]], tuple[Mapping[str, Shape], Equations]]
"""The states and the equations of a cell whose options have these values."""


@dataclass(frozen=True, eq=False)
class Cell(TextDisplay):
    """A recurrent cell: its contract (inputs, states, parameter spaces) and its equations for one time step.

    Calling a cell with keyword arguments binds its options: `gru(reset="after")` is another cell.
    The first state is what a layer of the cell emits.
    """

    name: str
    inputs: Mapping[str, Shape]
    states: Mapping[str, Shape]
    spaces: Mapping[str, Space]
    equations: Equations
    codes: frozenset[CodeType]  # of the functions whose local names and lines are the user's
    about: About = field(default_factory=About)
    initial: Mapping[str, float] = field(default_factory=dict[str, float])
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    defaults: Mapping[str, object] = field(default_factory=dict[str, object])
    rebind: Rebind | None = None
    file: str = ""
    line: int = 0

    @property
    def label(self) -> str:
        """The name with the options that were bound: `gru(reset="after")`."""
        if not self.options:
            return self.name
        return f"{self.name}({', '.join(f'{key}={spell(value)}' for key, value in self.options.items())})"

    def __repr__(self) -> str:
        return f"<gatewright cell {self.label}>"

    def starts(self, params: Iterable[str]) -> dict[str, float]:
        """The constants at which parameters start, by name; a layer's initialiser draws the others."""
        starts = {name: self.initial.get(name, self.spaces[Param.parse(name).space].initial) for name in params}
        return {name: start for name, start in starts.items() if start is not None}

    def __deepcopy__(self, memo: dict[int, object]) -> "Cell":
        """The cell itself: it is code and cannot change, so that copies of a layer are layers of one cell."""
        return self

    def __reduce__(self) -> NoReturn:
        """Raise CellError: equations are code, which is not put into files."""
        raise CellError(
            f"cell {self.label!r} cannot be pickled, because it is code",
            do="pickle a layer of the cell, which keeps its Trace; save a model with gatewright.model_file.save; "
            "hand another process the name of a cell in the catalogue",
        )

    def __call__(self, **options: object) -> "Cell":
        """The same cell with some of its options bound.

        Raises OptionError for an option that the cell does not have.
        """
        unknown = [key for key in options if key not in self.defaults]
        if unknown or self.rebind is None:
            raise OptionError(
                f"cell {self.name!r} has no option {unknown[0] if unknown else 'at all'!r}",
                expected=", ".join(f"{key}={spell(value)}" for key, value in self.defaults.items()) or "no options",
                got=", ".join(options) or "a call",
                do="give a cell's options before it is transformed: gw.masked(gru(reset='after'))"
                if self.rebind is None
                else "name one of the expected options",
                shell="give a cell's options before it is transformed: 'masked(gru(reset=after))'"
                if self.rebind is None
                else None,
            )
        bound = {**self.options, **options}
        changed = {key: value for key, value in bound.items() if value is not self.defaults[key]}
        states, equations = self.rebind({**self.defaults, **changed})
        return replace(self, options=changed, states=states, equations=equations)


def spell(value: object) -> str:
    """The value of an option as it is written in Python."""
    if isinstance(value, str):
        return f'"{value}"'
    return str(getattr(value, "__name__", value))


@overload
def cell(function: Callable[..., Any], /) -> Cell: ...
@overload
def cell(
    *,
    name: str | None = None,
    title: str = "",
    paper: str = "",
    convention: str = "",
    differs: str = "",
    states: Mapping[str, str] | None = None,
    spaces: Mapping[str, SpaceShape] | None = None,
    delays: Mapping[str, str] | None = None,
    initial: Mapping[str, float] | None = None,
) -> Callable[[Callable[..., Any]], Cell]: ...
def cell(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    title: str = "",
    paper: str = "",
    convention: str = "",
    differs: str = "",
    states: Mapping[str, str] | None = None,
    spaces: Mapping[str, SpaceShape] | None = None,
    delays: Mapping[str, str] | None = None,
    initial: Mapping[str, float] | None = None,
) -> Cell | Callable[[Callable[..., Any]], Cell]:
    """Make a cell of the equations of one time step.

    The signature is the contract: `x`; the states, in the order in which they are returned; the parameter spaces
    (`W` (hidden, input), `U` (hidden, hidden), `b` and `p` (hidden,), and those declared in `spaces`);
    keyword-only arguments are the cell's options.

        @gw.cell
        def elman(x, h, W, U, b):
            return gw.tanh(W.h @ x + U.h @ h + b.h)

    `states` gives the axis of a state that is not "hidden"; `spaces` the axes of further spaces; `initial` the
    constants that some parameters start at, whatever initialiser a layer uses. `delays={"d": "delay"}` makes the state
    d a delay line, as long as the option `delay` says: what is returned for d is read `delay` steps later. The values
    that wait are further states, `d_2` to `d_<delay>`: `d` is read in this step, `d_2` in the next.

    Raises CellError where the signature breaks the contract.
    """
    shapes: Mapping[str, SpaceShape] = {**DEFAULT_SPACES, **(spaces or {})}
    declared = {key: Space(tuple(axis or OPEN for axis in shape)) for key, shape in shapes.items()}
    about = About(title, paper, convention, differs)

    def make(function: Callable[..., Any]) -> Cell:
        if not isinstance(function, FunctionType):
            raise CellError(
                f"@gw.cell was given {function!r}",
                expected="a plain function of one step",
                got=type(function).__name__,
            )
        cell_name = name or function.__name__
        return _from_function(function, cell_name, about, declared, states or {}, delays or {}, initial or {})

    return make if function is None else make(function)


def _from_function(
    function: FunctionType,
    name: str,
    about: About,
    declared: Mapping[str, Space],
    axes: Mapping[str, str],
    delays: Mapping[str, str],
    initial: Mapping[str, float],
) -> Cell:
    names, defaults = _signature(function, name, declared)
    state_names = [key for key in names[1:] if key not in declared]
    _check_states(function, name, state_names, axes, "states")
    _check_states(function, name, state_names, delays, "delays")
    _check_delays(function, name, names, delays, defaults)
    every = [*axes.values(), *(axis for space in declared.values() for axis in space.shape)]
    odd = [axis for axis in every if not axis.isidentifier() and axis != OPEN]
    if odd:
        raise _signature_error(function, name, f"axis {odd[0]!r}", "letters, digits and underscores", odd[0])

    def rebind(options: Mapping[str, object]) -> tuple[Mapping[str, Shape], Equations]:
        lines = {
            key: delay_line(name, key, delays[key], options[delays[key]]) if key in delays else [key]
            for key in state_names
        }

        def equations(operands: Operands) -> object:
            values = {**operands.inputs, **operands.states, **operands.spaces}
            new = function(*(values[key] for key in names), **options)
            return moved_on(name, new, lines, operands.states) if delays else new

        return {key: (axes.get(state, HIDDEN),) for state, line in lines.items() for key in line}, equations

    states, equations = rebind(defaults)
    return Cell(
        name=name,
        inputs={names[0]: (INPUT,)},
        states=states,
        spaces={key: declared[key] for key in names if key in declared},
        equations=equations,
        codes=frozenset({function.__code__}),
        about=about if about.title else replace(about, title=(inspect.getdoc(function) or "").split("\n", 1)[0]),
        initial=initial,
        defaults=defaults,
        rebind=rebind,
        file=function.__code__.co_filename,
        line=function.__code__.co_firstlineno,
    )


def _check_states(
    function: FunctionType, name: str, states: list[str], settings: Mapping[str, str], argument: str
) -> None:
    unknown = sorted(set(settings) - set(states))
    if unknown:
        raise _signature_error(
            function, name, f"{argument}={{...}} names {unknown[0]!r}", "one of the states", unknown[0]
        )


def _check_delays(
    function: FunctionType, name: str, names: list[str], delays: Mapping[str, str], options: Mapping[str, object]
) -> None:
    for state, option in delays.items():
        if option not in options:
            what = f"delays={{...}} takes the length of {state!r} from {option!r}"
            raise _signature_error(function, name, what, "one of the options", option)
        taken = [other for other in names if other.startswith(f"{state}_") and other[len(state) + 1 :].isdigit()]
        if taken:
            expected = f"another name: {state}_2 is a part of the delay line {state}"
            raise _signature_error(function, name, f"the argument {taken[0]!r}", expected, taken[0])


def _signature(function: FunctionType, name: str, declared: Mapping[str, Space]) -> tuple[list[str], dict[str, object]]:
    """The positional names and the options of a cell's function, checked against the contract."""
    names: list[str] = []
    options: dict[str, object] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty:
                raise _signature_error(function, name, f"option {parameter.name!r}", "a default value", "none")
            options[parameter.name] = parameter.default
        elif parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.default is not parameter.empty:
            expected = "plain arguments without defaults; options go after a `*`"
            raise _signature_error(function, name, f"argument {parameter.name!r}", expected, str(parameter))
        else:
            names.append(parameter.name)
    spaces = [key for key in names if key in declared]
    states = [key for key in names[1:] if key not in declared]
    if not names or names[0] in declared or not states or names[1 + len(states) :] != spaces:
        got = f"def {function.__name__}({', '.join(names)})"
        expected = "the input x, then at least one state, then parameter spaces"
        raise _signature_error(function, name, "the signature", expected, got)
    return names, options


def _signature_error(function: FunctionType, name: str, what: str, expected: str, got: str) -> CellError:
    code = function.__code__
    return CellError(
        f"cell {name!r} ({code.co_filename}, line {code.co_firstlineno}): {what} does not fit the contract of a cell",
        expected=expected,
        got=got,
        do="write def name(x, h, W, U, b), or def name(x, h, c, W, U, b, p, *, option=value); "
        "declare further parameter spaces with @gw.cell(spaces={'V': ('hidden', 'hidden')})",
    )
