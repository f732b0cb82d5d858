"""Sums of whole numbers, by a network that learned to add bit by bit."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import Any, cast

import numpy as np

from gatewright.errors import DataError, OptionError
from gatewright.tasks.answers.network_inputs import NetworkInputs
from gatewright.tasks.answers.predictor import Predictor, run_network
from gatewright.tasks.data.published.sources import existing_path
from gatewright.tasks.data.reading import text_lines
from gatewright.tasks.data.synthetic import addition_arrays, from_bits
from gatewright.tasks.trained_model import TrainedModel

_PAIR = re.compile(r"\s*(\d+)\s*[\s,;+]\s*(\d+)\s*", re.ASCII)
_DIGITS = 1000  # in a number
_ROWS = 1000  # of a batch
_SHOWN = 16  # pairs that are looked at where none are given


def add(model: TrainedModel, first: int, second: int) -> int:
    """What the network takes the sum to be; the numbers may have any number of bits."""
    if model.recipe.name != "adding":
        raise OptionError(
            f"this model was made by the recipe {model.recipe.name!r}, and cannot add",
            expected="a model of the recipe 'adding'",
            do="train one with: gatewright train adding",
        )
    return from_bits(bits_of_sums(model, [(first, second)])[0])


def bits_of_sums(model: TrainedModel, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The bits, the lowest first, that the network gives for each sum; one more than the sum needs."""
    objective: Any = model.recipe.objective()
    sizes = [(first + second).bit_length() + 1 for first, second in pairs]
    bits: list[list[int]] = [[] for _ in pairs]
    for size in sorted(set(sizes)):
        rows = [place for place, own in enumerate(sizes) if own == size]
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            outputs, _ = run_network(model.network, addition_arrays([pairs[row] for row in some], size)[0])
            for row, own in zip(some, objective.decide(outputs)[:, :, 0].T.tolist(), strict=True):
                bits[row] = [int(bit) for bit in own]
    return bits


class AdditionPredictor(Predictor):
    """Sums of pairs of whole numbers, as the network computes them.

    A row for each pair: `line`, `first`, `second`, `sum`, `right`, `bits`. A source is a file with two whole numbers in
    each line (a comma, semicolon, tab, space or + between them; a first line of names is left out), a DataFrame with
    two columns, or pairs. `sum` is the network's, `right` says whether it is the sum, and `bits` are the bits that it
    gave, the lowest first.
    """

    def table(self, source: object, **options: Any) -> list[dict[str, Any]]:
        """The rows."""
        pairs = _pairs(source)
        bits = bits_of_sums(self.model, list(pairs.values()))
        return [
            {"line": line, **self._answer(pair, own)} for (line, pair), own in zip(pairs.items(), bits, strict=True)
        ]

    def network_inputs(self, source: object) -> Iterator[NetworkInputs]:
        """The bits of each pair, the lowest first; pairs of as many bits in a batch. A step is named as in "1+0"."""
        pairs = _pairs(source)
        by_size: dict[int, list[int]] = {}
        for line, pair in pairs.items():
            by_size.setdefault(sum(pair).bit_length() + 1, []).append(line)
        for size, lines in sorted(by_size.items()):
            values = addition_arrays([pairs[line] for line in lines], size)[0]
            names = [["+".join(f"{bit:g}" for bit in step) for step in row] for row in values.swapaxes(0, 1)]
            lengths = np.full(len(lines), size, np.int64)
            yield NetworkInputs(
                values,
                lengths,
                [f"{a} + {b}" for a, b in map(pairs.__getitem__, lines)],
                names,
                ("first", "second"),
                output_kind="bit",
            )

    def own_inputs(self) -> Iterator[NetworkInputs]:
        """Pairs of numbers of 16 bits."""
        return self.network_inputs(np.random.default_rng(0).integers(1 << 15, 1 << 16, (_SHOWN, 2)).tolist())

    def predict_line(self, line: str, **options: Any) -> Mapping[str, Any]:
        """The sum of the two numbers of a line."""
        pair = _read(line)
        if pair is None:
            raise OptionError(
                "a line to add has two whole numbers",
                expected="two of at most 1,000 digits, as in 12 30",
                got=repr(line[:60]),
            )
        return self._answer(pair, bits_of_sums(self.model, [pair])[0])

    def _answer(self, pair: tuple[int, int], bits: list[int]) -> dict[str, Any]:
        total = from_bits(bits)
        shown = "".join(map(str, bits))
        return {"first": pair[0], "second": pair[1], "sum": total, "right": total == sum(pair), "bits": shown}


def _read(line: str) -> tuple[int, int] | None:
    """The two numbers of a line; None where it has others, or none."""
    match = _PAIR.fullmatch(line)
    if match is None or max(map(len, match.groups())) > _DIGITS:
        return None
    return int(match[1]), int(match[2])


def _pairs(source: object) -> dict[int, tuple[int, int]]:
    """The pairs of a source, each by its line or its place from 1."""
    pairs: dict[int, tuple[int, int]] = {}
    if isinstance(source, str | os.PathLike):
        path = existing_path(source)
        for number, line in enumerate(text_lines(path), 1):
            pair = _read(line)
            if pair is not None:
                pairs[number] = pair
            elif line.strip() and (number > 1 or any(map(str.isdigit, line))):
                raise _wrong(f"{path}, line {number}", line)
    else:
        rows = cast("Any", source).itertuples(index=False) if hasattr(source, "itertuples") else source
        for number, row in enumerate(cast("Iterable[Any]", rows), 1):
            pairs[number] = _whole(number, row)
    if not pairs:
        raise DataError("there are no numbers to add", expected="two whole numbers in each line")
    return pairs


def _whole(number: int, row: Any) -> tuple[int, int]:
    try:
        first, second = (index(number) for number in row)
    except (TypeError, ValueError):
        raise _wrong(f"pair {number}", str(row)) from None
    if min(first, second) < 0:
        raise _wrong(f"pair {number}", str(row))
    return first, second


def _wrong(where: str, got: str) -> DataError:
    return DataError(f"{where}: not two whole numbers", expected="two of at most 1,000 digits", got=got[:60])
