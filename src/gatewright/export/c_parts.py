"""The parts of a C file: a network's encoding, layers, pool and head, each as a cell with its numbers."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Any

import numpy as np

from gatewright.axes import INPUT
from gatewright.backends.base import execute, prepare
from gatewright.backends.c99.parts import CellPart, Constant, SymbolInput
from gatewright.backends.formulas.naming import is_named
from gatewright.backends.numpy_ref import RULES
from gatewright.errors import OptionError
from gatewright.int8 import quantised
from gatewright.network import Activation, Dense, Embedding, Max, Mean, Network, OneHot, RecurrentPart, Scale
from gatewright.network.beside import LinearSeriesPart, Ngrams
from gatewright.network.forecast import ForecastWindow
from gatewright.network.part import Array, Arrays, Part
from gatewright.network.parts import SumEmbedding
from gatewright.network.steps import Last, PatchPart
from gatewright.trace import Literal, Trace, Var, parse, shared
from gatewright.trace.analysis import matrices_that_only_multiply
from gatewright.trace.ir import renamed
from gatewright.trace.mask import MASK
from gatewright.trace.simplify import substitute, without_chance

_STANDARDISE = """cell "standardisation"
input x(input)
state y(input)
param mean(input)
param deviation(input)
  %0(input) = sub x mean
  y'(input) = div %0 deviation
next y = y'
"""
_MEAN = """cell "mean of all steps"
input x(input)
state y(input)
state total(input)
state steps()
  total'(input) = add total x
  steps'() = add steps 1.0
  y'(input) = div total' steps'
next y = y'
next total = total'
next steps = steps'
"""
_MAX = """cell "largest of all steps"
input x(input)
state y(input)
state begun()
  %0(input) = maximum y x
  y'(input) = where begun %0 x
next y = y'
next begun = 1.0
"""
_DENSE = """cell "dense layer"
input x(input)
state y(output)
param W(output, input)
param b(output)
  %0(output) = matmul W x
  y'(output) = add %0 b
next y = y'
"""
_FUNCTION = """cell "{function}"
input x(input)
state y(input)
  y'(input) = {function} x
next y = y'
"""
_PATCH = _DENSE.replace("output", "features").replace("dense layer", "patch of steps")
_FUNCTIONS = ("relu", "sigmoid", "softplus", "tanh")
"""What a dense layer may end with in C: the ops of the language that are functions of each number."""


def parts_of(network: Network) -> tuple[CellPart, ...]:
    """The parts from the bottom to the top.

    Raises OptionError for what cannot be run step by step, and for numbers that are not finite.
    """
    for part in sorted(network.parts, key=lambda part: isinstance(part, RecurrentPart)):  # what is beside it says more
        _require_step_by_step(part, network)
    parts: list[CellPart] = []
    for index, part in enumerate(network.parts):
        following = network.parts[index + 1] if index + 1 < len(network.parts) else None
        parts += _RULES[type(part)](part, _Position(network, following, parts))
    for part in parts:
        _require_finite(part.constants)
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a part stands: in which network, before which part, and after which parts of the C code."""

    network: Network
    following: Part | None
    below: list[CellPart]

    def name(self, wanted: str) -> str:
        """A name that no part below has."""
        taken = {part.name for part in self.below}
        return next(name for name in chain([wanted], map(f"{wanted}{{}}".format, count(2))) if name not in taken)


def _scale(part: Scale, place: _Position) -> list[CellPart]:
    times = place.following.size if isinstance(place.following, PatchPart) else 1
    return [_plain(place.name("standard"), _STANDARDISE, {k: np.tile(v, times) for k, v in part.arrays().items()})]


def _recurrent(part: RecurrentPart, place: _Position) -> list[CellPart]:
    layers = place.network.recurrent
    name = f"l{next(index for index, layer in enumerate(layers) if layer is part)}" if len(layers) > 1 else ""
    trace, constants = folded(part.traces[0], part.cell_parameters()[0], part.sizes)
    return [CellPart(name, trace, constants, part.sizes)]


def _pool(part: Mean | Max, place: _Position) -> list[CellPart]:
    text = _MEAN if isinstance(part, Mean) else _MAX
    return [_plain(place.name("pool"), text, {}, {INPUT: place.below[-1].output_size})]


def _dense(part: Dense, place: _Position) -> list[CellPart]:
    bias = np.zeros(len(part.weight)) if part.bias is None else part.bias
    dense = _plain(place.name("head"), _DENSE, {"W": part.weight, "b": bias})
    return [dense, *_function(part.activation, len(part.weight), place)]


def _function(function: str, size: int, place: _Position) -> list[CellPart]:
    if function == "identity":
        return []
    if function not in _FUNCTIONS:
        raise OptionError(f"the C code has no function {function!r} after a layer", expected=", ".join(_FUNCTIONS))
    return [_plain(place.name("activation"), _FUNCTION.format(function=function), {}, {INPUT: size})]


_RULES: Mapping[type[Part], Callable[[Any, _Position], list[CellPart]]] = {
    Activation: lambda part, place: _function(part.function, place.below[-1].output_size, place),
    Dense: _dense,
    # Symbols are looked up where they are read; the last step until now is the one that was read.
    **dict.fromkeys((Embedding, OneHot, Last), lambda part, place: []),
    Max: _pool,
    Mean: _pool,
    PatchPart: lambda part, place: [_plain(place.name("patch"), _PATCH, {"W": part.weight, "b": part.bias})],
    RecurrentPart: _recurrent,
    Scale: _scale,
}
"""The parts of a network that run step by step, and what they are in C."""


def _require_step_by_step(part: Part, network: Network) -> None:
    """Refuse a part that cannot be run step by step."""
    match part:
        case ForecastWindow():
            raise _not_step_by_step(
                network,
                f"a model that forecasts cannot run step by step: it reads {part.forecast.history} steps at once",
                expected="a model that reads a sequence from its beginning on",
                got="one that sees each window by its own level and spread, and reads a linear forecast after it",
            )
        case SumEmbedding():
            raise _not_step_by_step(
                network,
                "a model that reads several symbols a step is not written as C, whose code reads one",
                expected="a model that reads numbers, or one symbol a step",
                got=", ".join(part.columns),
            )
        case Ngrams():
            scores = f"scores of n-grams up to {part.longest} symbols"
            raise _beside("a classifier of n-grams", scores, "ngrams", "texts", network)
        case LinearSeriesPart():
            raise _beside("a linear model", f"scores of the values at {part.times} times", "linear", "series", network)
        case RecurrentPart(directions=(_, _)):
            raise OptionError(
                f"layer {network.layer_name!r} ({part.traces[0].name}) is bidirectional, so it cannot run step by step",
                expected="a layer that reads a sequence from its beginning on",
                got="a backward direction, which begins at the end",
                do="train the model with bidirectional=False (a recipe with directions=forward), or export it as ONNX "
                "for whole sequences",
                shell="train the recipe with --set directions=forward, or export the model as ONNX, for whole "
                "sequences",
            )
        case _ if type(part) not in _RULES or (isinstance(part, Embedding) and part.masks_zero):
            raise _not_step_by_step(
                network, f"a part of kind {part.kind} is not written as C, which runs step by step", got=part.kind
            )
        case _:
            pass


def _not_step_by_step(network: Network, problem: str, **facts: str) -> OptionError:
    name = network.layer_name
    return OptionError(
        problem,
        **facts,
        do=f"export it as ONNX, or its layer alone with layer={name!r}",
        shell=f"export it as ONNX, or its layer alone with {shlex.join(['--layer', name])}",
    )


def _beside(model: str, scores: str, setting: str, sequences: str, network: Network) -> OptionError:
    """The error for a linear model beside a network."""
    return OptionError(
        f"a network beside {model} cannot run step by step",
        expected="a recurrent network alone, which reads forward",
        got=f"{scores} beside layer {network.layer_name!r}",
        do=f"train the recipe with {setting}=0 and directions=forward, or export the model as ONNX for whole "
        f"{sequences}",
        shell=f"train the recipe with --set {setting}=0 --set directions=forward, or export the model as ONNX"
        + (f" for whole {sequences}" if setting == "linear" else ""),
    )


def symbols_of(network: Network) -> SymbolInput | None:
    """How symbols become numbers, where the network reads symbols."""
    first = network.parts[0]
    if isinstance(first, Embedding):
        _require_finite({"weight": first.weight})
        return SymbolInput(len(first.weight), np.asarray(first.weight, np.float64))
    return SymbolInput(first.symbols) if isinstance(first, OneHot) else None


def folded(trace: Trace, params: Arrays, sizes: Mapping[str, int]) -> tuple[Trace, dict[str, Array]]:
    """A cell of which everything that depends on parameters alone has become a parameter, in double precision.

    Random values are their means, and every step is taken.
    """
    first = trace.inputs[0]
    others = [leaf.name for leaf in trace.inputs if leaf not in (first, Var(MASK, ()))]
    if others:
        raise OptionError(
            f"cell {trace.name!r} has several inputs, and the C code has one",
            expected=first.name,
            got=", ".join(others),
        )
    evaluated = substitute(without_chance(trace), {MASK: Literal(1.0)})
    trace = _with_named_constants(replace(evaluated, inputs=(first,)))
    once = shared(trace)
    values: dict[str, Any] = {name: np.asarray(array, np.float64) for name, array in params.items()}
    execute(prepare([equation for equation in trace.equations if equation.target.name in once], RULES, sizes), values)
    each_step = tuple(equation for equation in trace.equations if equation.target.name not in once)
    read = {arg for equation in each_step for arg in equation.args} | set(trace.next_states)
    targets = [*trace.params, *(equation.target for equation in trace.equations if equation.target.name in once)]
    used = tuple(value for value in targets if value in read)
    gates = tuple((name, value) for name, value in trace.gates if value.name not in once)
    return replace(trace, params=used, equations=each_step, gates=gates), {
        value.name: np.asarray(values[value.name], np.float64) for value in used
    }


def _with_named_constants(trace: Trace) -> Trace:
    """Names for what depends on parameters alone, so that the equations in a header can speak of it."""
    taken = {leaf.name for leaf in trace.leaves()} | {equation.target.name for equation in trace.equations}
    free = (name for name in map("k{}".format, count()) if name not in taken)
    once = shared(trace)
    targets = [equation.target.name for equation in trace.equations if equation.target.name in once]
    unnamed = [name for name in targets if not is_named(name)]
    return renamed(trace, dict(zip(unnamed, free, strict=False)))


def with_whole_numbers(part: CellPart, dtype: str) -> CellPart:
    """The part with its matrices as whole numbers: those that multiply vectors and do nothing else."""
    chosen = matrices_that_only_multiply(part.trace)
    constants: dict[str, Constant] = {
        name: quantised(array, dtype) if name in chosen and isinstance(array, np.ndarray) else array
        for name, array in part.constants.items()
    }
    return replace(part, constants=constants)


def _plain(name: str, text: str, arrays: Arrays, sizes: Mapping[str, int] | None = None) -> CellPart:
    """A part of the equations in a text, whose sizes are those of its parameters where none are given."""
    trace = parse(f"gatewright-trace 1\n{text}end\n")
    if sizes is None:
        sizes = {axis: n for p in trace.params for axis, n in zip(p.shape, arrays[p.name].shape, strict=True)}
    return CellPart(name, trace, {key: np.asarray(array, np.float64) for key, array in arrays.items()}, sizes)


def _require_finite(constants: Mapping[str, Any]) -> None:
    for name, array in constants.items():
        if not np.isfinite(array).all():
            raise OptionError(
                f"the parameter {name!r} cannot be written as C",
                expected="finite numbers",
                got=str(array[~np.isfinite(array)].flat[0]),
                do="train the model again, with a lower rate or with clip",
            )
