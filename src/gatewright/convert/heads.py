"""What stands around the recurrent layers in files of some frameworks: an embedding before them, a head after them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.cell_config.config import Family
from gatewright.convert.patterns import ShapedArray, infer, pattern
from gatewright.errors import ConversionError
from gatewright.lang.param import in_space
from gatewright.network import Dense, Embedding, Mean, Network, OneHot, Part, RecurrentPart

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Around:
    """One row: the arrays around the layers, each by its name and its axes."""

    framework: str
    title: str
    families: tuple[Family, ...] = ("rnn", "gru", "lstm")
    embedding: tuple[str, str] | None = None
    one_hot: bool = False  # symbols come in as unit vectors, as many as come out
    mean: bool = False  # the head reads the mean of all steps
    weight: tuple[str, str] | None = None  # of the head
    bias: str = ""
    activation: str = "identity"  # of the head


AROUND: tuple[Around, ...] = (
    Around(
        "theano", "the classifier of Theano's tutorial", embedding=("Wemb", "symbol feature"), mean=True,
        weight=("U", "input output"), bias="b", activation="softmax",
    ),
    Around("dl4mt", "dl4mt's embedding of the source language", embedding=("Wemb", "symbol feature")),
    Around(
        "wildml", "WildML's language model of GRUs", ("gru",), embedding=("E", "feature symbol"),
        weight=("V", "output input"), bias="c", activation="softmax",
    ),
    Around(
        "wildml", "WildML's language model of a vanilla RNN", ("rnn",), one_hot=True, weight=("V", "output input"),
        activation="softmax",
    ),
    Around(
        "d2l", "Dive into Deep Learning's language model", one_hot=True, weight=("W_hq", "input output"), bias="b_q",
    ),
)  # fmt: skip


def around(framework: str, family: Family) -> Around | None:
    """The row of that framework and family, if it has one."""
    return next((row for row in AROUND if row.framework == framework and family in row.families), None)


def read(
    row: Around, layers: tuple[RecurrentPart, ...], arrays: Arrays
) -> tuple[tuple[Part, ...], set[str], tuple[str, ...]]:
    """All parts in order, which arrays those around the layers were made of, and a note of what is not there."""
    before: list[Part] = []
    after: list[Part] = []
    used: set[str] = set()
    if row.embedding and (name := _named(row.embedding[0], arrays)):
        sizes = {"feature": layers[0].inputs}
        before.append(Embedding(_matrix(name, row.embedding[1], ("symbol", "feature"), arrays[name], sizes)))
        used.add(name)
    if row.weight and (name := _named(row.weight[0], arrays)):
        outputs = sum(width(direction) for direction in layers[-1].directions)
        weight = _matrix(name, row.weight[1], ("output", "input"), arrays[name], {"input": outputs})
        bias_name = _named(row.bias, arrays) if row.bias else None
        if row.bias and bias_name is None:
            raise ConversionError(
                f"{row.title} has a head of {row.weight[0]} and {row.bias}, and this one has no {row.bias}",
                got=f"{name} {np.shape(arrays[name])}",
                do="look whether the file is complete; a bias that is zero must be there as zeros",
            )
        bias = None if bias_name is None else _vector(bias_name, arrays[bias_name], len(weight))
        used |= {name} if bias_name is None else {name, bias_name}
        after += [Mean()] if row.mean else []
        after.append(Dense(weight, bias, row.activation))
        if row.one_hot and len(weight) == layers[0].inputs:
            before.append(OneHot(len(weight)))
    lacking = [part for part, there in ((row.embedding, before), (row.weight, after)) if part and not there]
    note = f"the file has no {' and no '.join(name for name, _ in lacking)}, which {row.title} has: it was read without"
    return (*before, *layers, *after), used, (note,) if lacking else ()


def write(row: Around, network: Network) -> dict[str, NDArray[Any]] | None:
    """The arrays around the layers; None where the framework has other parts there."""
    where = [index for index, part in enumerate(network.parts) if isinstance(part, RecurrentPart)]
    before, after = network.parts[: where[0]], network.parts[where[-1] + 1 :]
    kinds = [type(part) for part in (*before, *after)]
    if network.recurrent[-1].returns == "last" or (row.one_hot and kinds not in ([], [OneHot, Dense])):
        return None
    arrays: dict[str, NDArray[Any]] = {}
    for part in before:
        match part:
            case Embedding(masks_zero=False) if row.embedding:
                arrays[row.embedding[0]] = _laid(part.weight, row.embedding[1], ("symbol", "feature"))
            case OneHot() if row.one_hot:
                pass
            case _:
                return None
    if after and not (row.weight and [type(part) for part in after] == [Mean, Dense][0 if row.mean else 1 :]):
        return None
    head = next((part for part in after if isinstance(part, Dense)), None)
    if head is None:
        return arrays
    if row.weight is None or head.activation != row.activation or (head.bias is not None and not row.bias):
        return None
    arrays[row.weight[0]] = _laid(head.weight, row.weight[1], ("output", "input"))
    if row.bias:
        arrays[row.bias] = np.zeros(len(head.weight), head.weight.dtype) if head.bias is None else head.bias
    return arrays


def width(parameters: Mapping[str, NDArray[Any]]) -> int:
    """How many features a layer of these parameters gives."""
    return next(iter(in_space(parameters, "U").values())).shape[1]


def _named(name: str, arrays: Arrays) -> str | None:
    """The array of that name, alone or at the end of a path, if there is one."""
    paths = [full for full in arrays if full.endswith((f".{name}", f"/{name}"))]
    return name if name in arrays else paths[0] if len(paths) == 1 else None


def _matrix(
    name: str, axes: str, wanted: tuple[str, str], array: NDArray[Any], sizes: Mapping[str, int]
) -> NDArray[Any]:
    infer([ShapedArray(name, pattern(axes), sizes, np.shape(array))])
    return _laid(np.asarray(array), axes, wanted)


def _laid(array: NDArray[Any], axes: str, wanted: tuple[str, str]) -> NDArray[Any]:
    return np.ascontiguousarray(array if tuple(axes.split()) == wanted else array.T)


def _vector(name: str, array: NDArray[Any], length: int) -> NDArray[Any]:
    if np.shape(array) != (length,):
        raise ConversionError(
            f"array {name!r} does not fit the head", expected=f"shape ({length},)", got=f"shape {np.shape(array)}"
        )
    return np.asarray(array)
