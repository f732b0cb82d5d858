"""Two files held to each other: both are run on the same random input, and by their frameworks where they are there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import lcm, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.formats import Format
from gatewright.errors import ConversionError, GatewrightError
from gatewright.int8 import Loss
from gatewright.network import Embedding, Masking, Network, OneHot, Part, Reshape, run

STEPS, BATCH = 11, 3  # of the random input, where a network takes any number
LOSS_STEPS = 100
IN_FLOAT32 = 1e-4  # of the largest output: what single precision loses in a few steps
IN_FLOAT16 = 8e-3


def compare(
    network: Network, again: Network, *, steps: int = STEPS, batch: int = BATCH, seed: int = 0
) -> tuple[float, float]:
    """The largest difference between outputs of two networks, and the largest output, both in float64.

    Networks of the same parts are compared as a whole too; otherwise their recurrent layers are, one by one.

    Raises ConversionError where it is more than rounding can explain.
    """
    generator = np.random.default_rng(seed)
    batch = _batch(network, batch)
    pairs = [
        (Network((replace(left, returns="sequence"),)), Network((replace(right, returns="sequence"),)))
        for left, right in zip_longest(network.recurrent, again.recurrent)
        if left is not None and right is not None
    ]
    if _outline(network) == _outline(again):
        pairs.append((network, again))
    difference = scale = 0.0
    steps = max(steps, *network.lengths) if isinstance(network.lengths, tuple) else _reshapable(network, steps)
    for left, right in pairs:
        inputs = _example(left, steps, batch, generator)
        lengths = _lengths(left, inputs)
        wanted, got = run(left, inputs, lengths=lengths), run(right, inputs, lengths=lengths)
        alike = wanted.shape == got.shape
        difference = max(difference, float(np.abs(wanted - got).max(initial=0.0)) if alike else np.inf)
        scale = max(scale, float(np.abs(wanted).max(initial=0.0)))
    same = len(network.recurrent) == len(again.recurrent)
    if not same or not difference <= _rounding(network) * max(scale, 1.0):
        rounded = same and np.dtype(np.float16) in _types(network)
        advice = "write float32, where sums of biases are exact enough, with"
        raise ConversionError(
            "what was written computes something else",
            expected=f"a difference below {_rounding(network):.1g}",
            got=f"{difference:.3g}" if same else f"{len(again.recurrent)} layers of {len(network.recurrent)}",
            do=f"{advice} dtype='float32'" if rounded else "please report it with both files",
            shell=f"{advice} --dtype float32" if rounded else None,
        )
    return difference, scale


def loss_between(network: Network, rounded: Network, weights: str) -> Loss:
    """How far a network with rounded weights is from the network itself, on random inputs."""
    lengths = network.lengths if isinstance(network.lengths, tuple) else ()
    steps = _reshapable(network, max((LOSS_STEPS, *lengths)))
    inputs = _example(network, steps, _batch(network, BATCH), np.random.default_rng(0))
    rows = _lengths(network, inputs)
    want, got = (run(side, inputs, lengths=rows) for side in (network, rounded))
    return Loss.between(want, got, "random inputs", weights)


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof of a file by its framework: the largest difference from our reading, or why it was not run."""

    differences: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()


def in_framework(file_format: Format, path: Path, network: Network, overrides: Mapping[str, Any]) -> Proof:
    """Run a file by its framework, and hold the outputs to our reading of it with those overrides.

    Where that cannot be, a note says why.

    Raises ConversionError where the difference is more than single precision can explain.
    """
    if file_format.run is None and file_format.name == "gatewright":
        return Proof()  # no other program runs these
    if file_format.run is None:
        return Proof(notes=(f"{path.name}: not proved by {file_format.name} itself: Gatewright cannot run it there",))
    try:
        steps, batch = file_format.fixed_sizes(path) if file_format.fixed_sizes else (None, None)
        steps, batch = steps or _reshapable(network, STEPS), batch or _batch(network)
        inputs = _example(network, steps, batch, np.random.default_rng(0))
        # Numbers that half precision has too, so that every type computes with the same.
        inputs = inputs.astype(np.float16).astype(np.float32) if inputs.dtype.kind == "f" else inputs
        lengths = _lengths(network, inputs)
        got = file_format.run(path, inputs, dict(overrides), **({} if lengths is None else {"lengths": lengths}))
    except Exception as error:  # noqa: BLE001 - whatever a framework fails at, our own proof stands
        return Proof(notes=(f"{path.name}: not proved by {file_format.runtime}: {_reason(error, path)}",))
    wanted, allowed = run(network, inputs, lengths=lengths), IN_FLOAT16 if got.dtype == np.float16 else IN_FLOAT32
    difference = float(np.abs(wanted - got).max(initial=0.0)) if wanted.shape == got.shape else np.inf
    if not difference <= allowed * max(float(np.abs(wanted).max(initial=0.0)), 1.0):
        raise ConversionError(
            f"{file_format.runtime} computes something else with {path.name} than was read here",
            expected=f"outputs of shape {wanted.shape} within {allowed:g}",
            got=f"shape {got.shape}, a difference of {difference:.3g}",
            do="please report it with the file",
        )
    return Proof(((f"{path.name}, run by {file_format.runtime}", difference),))


def _reason(error: Exception, path: Path) -> str:
    """Why a framework did not run a file, in one line."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{error.name} is not installed"
    text = error.problem if isinstance(error, GatewrightError) else str(error)
    first = next((line for line in text.splitlines() if line.strip()), "")
    first = first.replace(str(path), path.name)[:200]
    by_itself = isinstance(error, GatewrightError | ImportError | NotImplementedError)
    return first if by_itself and first else f"{type(error).__name__}: {first}".removesuffix(": ")


def _outline(network: Network) -> list[tuple[Any, ...]]:
    """The kinds of the parts, and what recurrent ones return: not every kind of file has both."""
    return [(kind_of(part), getattr(part, "returns", None)) for part in network.parts]


def kind_of(part: Part) -> type[Part]:
    """The kind of a part. OneHot counts as an Embedding: it may be read back as one of unit vectors."""
    return Embedding if isinstance(part, OneHot) else type(part)


def _example(network: Network, steps: int, batch: int, generator: np.random.Generator) -> NDArray[Any]:
    """Random inputs for a network. Where it masks steps, some are padding."""
    shape = network.reads
    match network.parts[0]:
        case Embedding() as first:
            return generator.integers(0, len(first.weight), (shape[0] or steps, batch))
        case OneHot() as first:
            return generator.integers(0, first.symbols, (shape[0] or steps, batch))
        case Reshape() if len(shape) == 1:
            return generator.standard_normal((batch, shape[0] or steps))
        case first:
            features = shape[-1] if len(shape) == 2 else 1  # a Masking before a Reshape reads any number
            inputs = generator.standard_normal((shape[0] or steps, batch, features or 1))
            if isinstance(first, Masking):
                inputs[generator.random(inputs.shape[:2]) < 0.2] = first.value
            return inputs


def _reshapable(network: Network, steps: int) -> int:
    """That many steps, times a number by which every Reshape of unknown size has whole rows."""
    return steps * lcm(*(-prod(part.shape) for part in network.parts if isinstance(part, Reshape) and -1 in part.shape))


def _lengths(network: Network, inputs: NDArray[Any]) -> list[int] | None:
    """Lengths of rows where the network reads them. One row is whole."""
    if network.lengths != "given":
        return None
    steps, rows = inputs.shape[:2]
    return [steps - steps * row // rows for row in range(rows)]


def _batch(network: Network, batch: int = BATCH) -> int:
    """The rows of a batch: the number for which the network holds lengths or initial states, or else `batch`."""
    if isinstance(network.lengths, tuple):
        return len(network.lengths)
    rows = [len(state) for layer in network.recurrent for part in layer.initial for state in part.values()]
    return next((count for count in rows if count > 1), batch)


def _rounding(network: Network) -> float:
    """The rounding that is allowed for the least precise numbers of a network; for half precision, that of single."""
    return 64 * max(float(np.finfo(np.result_type(dtype, np.float32)).eps) for dtype in _types(network) or {np.float32})


def _types(network: Network) -> set[Any]:
    return {
        array.dtype for layer in network.recurrent for parameters in layer.directions for array in parameters.values()
    }
