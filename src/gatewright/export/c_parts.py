"""The parts of a C file: a network's encoding, layers, pool and head, each as a cell with its numbers."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from gatewright.axes import INPUT
from gatewright.backends.base import execute, prepare
from gatewright.backends.c99.parts import CellPart, Constant, SymbolInput
from gatewright.backends.c99.quantised import quantised
from gatewright.backends.formulas.naming import is_named
from gatewright.backends.numpy_ref import RULES
from gatewright.errors import OptionError
from gatewright.export.network import Array, Arrays, Network
from gatewright.export.ngrams import Ngrams
from gatewright.lang.ops import Op
from gatewright.trace import Literal, Trace, Var, parse, shared
from gatewright.trace.mask import MASK
from gatewright.trace.rename import renamed
from gatewright.trace.simplify import substitute, without_chance

_STANDARDISE = """gatewright-trace 1
cell "standardisation"
input x(input)
state y(input)
param mean(input)
param deviation(input)
  %0(input) = sub x mean
  y'(input) = div %0 deviation
next y = y'
end
"""
_MEAN = """gatewright-trace 1
cell "mean of all steps"
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
end
"""
_MAX = """gatewright-trace 1
cell "largest of all steps"
input x(input)
state y(input)
state begun()
  %0(input) = maximum y x
  y'(input) = where begun %0 x
next y = y'
next begun = 1.0
end
"""
_DENSE = """gatewright-trace 1
cell "dense layer"
input x(input)
state y(output)
param W(output, input)
param b(output)
  %0(output) = matmul W x
  y'(output) = add %0 b
next y = y'
end
"""
_PATCH = _DENSE.replace("output", "features").replace("dense layer", "patch of steps")
_POOLS = {"mean": _MEAN, "max": _MAX}


def parts_of(network: Network) -> tuple[CellPart, ...]:
    """The parts from the bottom to the top.

    Raises OptionError for what cannot be run step by step, and for numbers that are not finite.
    """
    record, parts = network.layer, list[CellPart]()
    _refuse_whole_sequences(network)
    if network.encode == "standardised" and network.encoder:
        repeated = {name: np.tile(one, network.patch) for name, one in network.encoder.items()}
        parts.append(_plain("standard", _STANDARDISE, repeated))
    if network.patches:
        parts.append(_plain("patch", _PATCH, {"W": network.patches["weight"], "b": network.patches["bias"]}))
    for index, level in enumerate(network.levels):
        trace, constants = folded(record.trace, level.directions[0], level.sizes)
        parts.append(CellPart(f"l{index}" if len(network.levels) > 1 else "", trace, constants, level.sizes))
    if network.pool in _POOLS:
        parts.append(CellPart("pool", parse(_POOLS[network.pool]), {}, {INPUT: parts[-1].output_size}))
    if network.head:
        parts.append(_plain("head", _DENSE, {"W": network.head["weight"], "b": network.head["bias"]}))
    for part in parts:
        _require_finite(part.constants)
    return tuple(parts)


def _refuse_whole_sequences(network: Network) -> None:
    """Refuse what cannot be run step by step."""
    record = network.layer
    if network.forecast:
        raise OptionError(
            f"a model that forecasts cannot run step by step: it reads {network.forecast.history} steps at once",
            expected="a model that reads a sequence from its beginning on",
            got="one that sees each window by its own level and spread, and reads a linear forecast behind it",
            do=f"export it as ONNX, or its layer alone with layer={record.name!r}",
            shell=f"export it as ONNX, or its layer alone with {shlex.join(['--layer', record.name])}",
        )
    if network.columns:
        raise OptionError(
            "a model that reads several symbols a step is not written as C, whose code reads one",
            expected="a model that reads numbers, or one symbol a step",
            got=", ".join(network.columns),
            do=f"export it as ONNX, or its layer alone with layer={record.name!r}",
            shell=f"export it as ONNX, or its layer alone with {shlex.join(['--layer', record.name])}",
        )
    if isinstance(network.linear, Ngrams):
        raise OptionError(
            "a network beside a classifier of n-grams cannot run step by step",
            expected="a recurrent network alone, which reads forward",
            got=f"scores of n-grams up to {network.linear.longest} symbols beside layer {record.name!r}",
            do="train the recipe with ngrams=0 and directions=forward, or export the model as ONNX for whole texts",
            shell="train the recipe with --set ngrams=0 --set directions=forward, or export the model as ONNX",
        )
    if network.linear:
        raise OptionError(
            "a network beside a linear model cannot run step by step",
            expected="a recurrent network alone, which reads forward",
            got=f"scores of the values at {network.linear.times} times beside layer {record.name!r}",
            do="train the recipe with linear=0 and directions=forward, or export the model as ONNX for whole series",
            shell="train the recipe with --set linear=0 --set directions=forward, or export the model as ONNX",
        )
    if record.bidirectional:
        raise OptionError(
            f"layer {record.name!r} ({record.trace.name}) is bidirectional, so it cannot run step by step",
            expected="a layer that reads a sequence from its beginning on",
            got="a backward direction, which begins at the end",
            do="train the model with bidirectional=False (a recipe with directions=forward), or export it as ONNX for "
            "whole sequences",
            shell="train the recipe with --set directions=forward, or export the model as ONNX, for whole sequences",
        )


def symbols_of(network: Network) -> SymbolInput | None:
    """How symbols become numbers, where the network reads symbols."""
    if not network.reads_symbols:
        return None
    if network.encode == "embedding" and network.encoder:
        _require_finite(network.encoder)
        return SymbolInput(len(network.encoder["weight"]), np.asarray(network.encoder["weight"], np.float64))
    return SymbolInput(network.symbols)


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
    execute(prepare([one for one in trace.equations if one.target.name in once], RULES, sizes), values)
    rest = tuple(one for one in trace.equations if one.target.name not in once)
    read = {arg for one in rest for arg in one.args} | set(trace.next_states)
    targets = [*trace.params, *(one.target for one in trace.equations if one.target.name in once)]
    used = tuple(value for value in targets if value in read)
    gates = tuple((name, value) for name, value in trace.gates if value.name not in once)
    return replace(trace, params=used, equations=rest, gates=gates), {
        value.name: np.asarray(values[value.name], np.float64) for value in used
    }


def _with_named_constants(trace: Trace) -> Trace:
    """Names for what depends on parameters alone, so that the equations in a header can speak of it."""
    taken = {leaf.name for leaf in trace.leaves()} | {equation.target.name for equation in trace.equations}
    free = (name for name in map("k{}".format, count()) if name not in taken)
    once = shared(trace)
    unnamed = [one.target.name for one in trace.equations if one.target.name in once and not is_named(one.target.name)]
    return renamed(trace, dict(zip(unnamed, free, strict=False)))


def with_whole_numbers(part: CellPart, dtype: str) -> CellPart:
    """The part with its matrices as whole numbers: those that multiply vectors and do nothing else."""
    trace = part.trace
    factors = {one.args[0] for one in trace.equations if one.op is Op.MATMUL}
    others = {arg for one in trace.equations for arg in one.args[one.op is Op.MATMUL :]} | set(trace.next_states)
    chosen = {value.name for value in factors - others if isinstance(value, Var)}
    constants: dict[str, Constant] = {
        name: quantised(one, dtype) if name in chosen and isinstance(one, np.ndarray) else one
        for name, one in part.constants.items()
    }
    return replace(part, constants=constants)


def _plain(name: str, text: str, arrays: Arrays) -> CellPart:
    trace = parse(text)
    sizes: dict[str, int] = {}
    for param in trace.params:
        sizes |= dict(zip(param.shape, arrays[param.name].shape, strict=True))
    return CellPart(name, trace, {key: np.asarray(one, np.float64) for key, one in arrays.items()}, sizes)


def _require_finite(constants: Mapping[str, Any]) -> None:
    for name, array in constants.items():
        if not np.isfinite(array).all():
            raise OptionError(
                f"the parameter {name!r} cannot be written as C",
                expected="finite numbers",
                got=str(array[~np.isfinite(array)].flat[0]),
                do="train the model again, with a lower rate or with clip",
            )
