"""The parts of a recipe's network: encoding, patches, layers, pool, head, and a linear model beside them."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from gatewright.errors import ModelFileError
from gatewright.model_file import ENCODERS
from gatewright.model_file.patches import folded
from gatewright.network.beside import LinearSeriesPart, Ngrams
from gatewright.network.part import Arrays, Part
from gatewright.network.parts import Dense, Embedding, OneHot, Scale, SumEmbedding
from gatewright.network.recurrent import RecurrentPart
from gatewright.network.steps import Last, Max, Mean, PatchPart
from gatewright.network.stored import array_of, unscaled

Encoding = Literal["values", "standardised", "one-hot", "embedding", "embedding-sum"]
Pooling = Literal["each step", "last", "mean", "max"]
Settings = Mapping[str, Any]
MOST_SYMBOLS = 16  # of an n-gram
MOST_TIMES = 1 << 20
_SIZES = ("longest", "buckets", "factor", "modulus")


def check(settings: Settings) -> None:
    """Refuse settings of a recipe's network that this version does not know.

    Raises ModelFileError.
    """
    encoding, pooling = settings.get("encoding"), settings.get("pooling")
    if encoding not in get_args(Encoding) or pooling not in get_args(Pooling):
        raise ModelFileError(
            "the model says of its network what this version does not know",
            expected=f"encoding: {', '.join(get_args(Encoding))}; pooling: {', '.join(get_args(Pooling))}",
            got=f"encoding: {encoding}; pooling: {pooling}",
            do="use the version that it was trained with, or train it again",
        )


def recipe_parts(settings: Settings, layers: Mapping[str, RecurrentPart], tensors: Arrays) -> dict[str, Part]:
    """All parts of a recipe's network by their names, around layers that have names too.

    Raises KeyError for a tensor or setting that is missing, and ModelFileError where they make no such network.
    """
    check(settings)
    weight, bias = unscaled(array_of("output.weight", tensors), array_of("output.bias", tensors), tensors)
    parts: dict[str, Part] = {}
    if (encoder := _encoder(settings, tensors)) is not None:
        parts["encode"] = encoder
    if (size := settings.get("patch", 1)) > 1:
        matrix = folded(tensors["patch.weight"], tensors["patch.weight_changes"], size)
        parts["patch"] = PatchPart(matrix, tensors["patch.bias"], size)
    parts |= layers
    if (pooling := settings["pooling"]) == "last":
        parts["pool"] = Last(sum(list(layers.values())[-1].widths[1:]))
    elif pooling != "each step":
        parts["pool"] = {"mean": Mean, "max": Max}[pooling](zeros_if_empty=True)
    parts["output"] = Dense(weight, bias)
    if (bag := _ngrams(settings, tensors)) is not None:
        parts["bag"] = bag
    elif (linear := _linear(settings, tensors, parts)) is not None:
        parts["linear"] = linear
    return parts


def used_tensors(settings: Settings, tensors: Arrays) -> set[str]:
    """The tensors that the encoder and the head are made of."""
    names = {f"encode.{name}" for name in ENCODERS[settings["encoding"]]}
    return (names | {"output.weight", "output.bias", "unscaled.mean", "unscaled.deviation"}) & tensors.keys()


def _encoder(settings: Settings, tensors: Arrays) -> Part | None:
    encoding = settings["encoding"]
    arrays = [array_of(f"encode.{name}", tensors) for name in ENCODERS[encoding]]
    match encoding:
        case "embedding":
            return Embedding(arrays[0])
        case "embedding-sum":
            return SumEmbedding(arrays[0], tuple(settings.get("columns", ())))
        case "standardised":
            return Scale(*arrays)
        case "one-hot":
            symbols = settings["inputs"]
            if type(symbols) is not int or symbols < 1:
                raise ModelFileError("the model does not say how many symbols it knows")
            return OneHot(symbols)
        case _:
            return None


def _ngrams(settings: Settings, tensors: Arrays) -> Ngrams | None:
    """The classifier of n-grams beside the network; None where it has none."""
    if "ngrams" not in settings:
        return None
    sizes: Any = settings["ngrams"] if isinstance(settings["ngrams"], Mapping) else {}
    numbers = [sizes.get(name) for name in _SIZES]
    weight, energy, bias = (tensors[f"bag.{name}"] for name in ("weight", "energy", "bias"))
    if not all(type(number) is int and 0 < number < 1 << 31 for number in numbers) or numbers[0] > MOST_SYMBOLS:
        raise ModelFileError("the model's n-grams are of sizes that cannot be", got=str(settings["ngrams"])[:80])
    longest, buckets, factor, modulus = numbers
    symbols = settings["inputs"]
    total = symbols + (buckets if longest > 1 else 0)
    if weight.shape != (total, len(bias)) or energy.shape != (total,):
        raise ModelFileError(
            "the model's n-grams do not fit its symbols",
            expected=f"scores of {total} n-grams",
            got=f"scores {weight.shape}, energies {energy.shape}",
        )
    return Ngrams(longest, symbols, buckets, factor, modulus, weight, energy, bias)


def _linear(settings: Settings, tensors: Arrays, parts: Mapping[str, Part]) -> LinearSeriesPart | None:
    """The linear model beside the network, in the units of the outputs; None where it has none."""
    if "linear" not in settings:
        return None
    sizes, channels, head = settings["linear"], settings["inputs"], parts["output"]
    times: Any = sizes.get("times") if isinstance(sizes, Mapping) else None  # pyright: ignore[reportUnknownMemberType]
    weight, bias = tensors["linear.weight"], tensors["linear.bias"]
    if type(times) is not int or not 0 < times < MOST_TIMES:
        raise ModelFileError("the model's linear part is of a size that cannot be", got=str(sizes)[:80])
    outputs = head.arrays()["bias"].shape
    expected = ((times * channels, *outputs), outputs)
    if (weight.shape, bias.shape) != expected:
        raise ModelFileError(
            "the model's linear part does not fit its channels and outputs",
            expected=", ".join(map(str, expected)),
            got=f"{weight.shape}, {bias.shape}",
        )
    turned, bias = unscaled(weight.T, bias, tensors)
    unchanged = Scale(np.zeros(channels, weight.dtype), np.ones(channels, weight.dtype))
    scale = encoder if isinstance(encoder := parts.get("encode"), Scale) else unchanged
    return LinearSeriesPart(times, scale.mean, scale.deviation, turned.T, bias)
