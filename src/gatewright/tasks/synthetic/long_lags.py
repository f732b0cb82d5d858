"""Predictions of a network of the recipe `longlag` for given sequences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.answers.network_inputs import NetworkInputs
from gatewright.tasks.answers.predictor import Predictor, measured_part, pooled_outputs, run_network
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.synthetic import COPIED, COPY_SYMBOLS
from gatewright.tasks.data.tables.table import open_table

Array = NDArray[Any]
_OWN = {"adding": ("value", "mark"), "copy": ("symbol",)}


class LagPredictor(Predictor):
    """The sum of the two marked numbers of a sequence, or the ten symbols that are to be repeated.

    With task=adding a row for each sequence, `id` and `sum`; with task=copy a row for each symbol that is repeated:
    `id`, `step` (from 1), `class`, the most probable symbol, and its `probability`. A source is an array (sequences,
    steps, 2) of numbers from 0 to 1 and marks, 1 at two steps and else 0; or (sequences, steps) of the symbols 0 to 9;
    a list of sequences of any lengths; or a table with a row for each step: columns `value` and `mark`, or `symbol`,
    and `id` where there are several sequences.
    """

    def table(self, source: object, **options: Any) -> Any:
        """Columns, or rows."""
        task: str = self.recipe.task
        sequences = _sequences(source, _OWN[task])
        for name, sequence in sequences.items():
            _check_sum(name, sequence) if task == "adding" else _check_copy(name, sequence)
        if task == "adding":
            joined = Ragged.join([np.asarray(sequence, np.float32) for sequence in sequences.values()])
            return {"id": list(sequences), "sum": pooled_outputs(self.model.network, joined)[:, 0]}
        return [row for name, sequence in sequences.items() for row in self._copied(name, sequence[:, 0])]

    def network_inputs(self, source: object) -> Iterator[NetworkInputs]:
        """Each sequence in a batch of its own."""
        task: str = self.recipe.task
        for name, sequence in _sequences(source, _OWN[task]).items():
            (_check_sum if task == "adding" else _check_copy)(name, sequence)
            lengths = np.array([len(sequence)], np.int64)
            if task == "adding":
                values = sequence.astype(np.float32)[:, None]
                yield NetworkInputs(values, lengths, [name], variables=_OWN[task], reads_lengths=True)
            else:
                numbers = sequence[:, 0].astype(np.int64)
                classes = self.model.sizes.classes
                names = list(map(str, numbers))
                yield NetworkInputs(numbers[:, None], lengths, [name], [names], labels=classes, output_kind="label")

    def own_inputs(self) -> Iterator[NetworkInputs]:
        """The sequences that the network was measured on."""
        _, batches = measured_part(self.model, self.no_data("look at"))
        inputs = np.asarray(batches.batch(0, 0).inputs)
        return self.network_inputs(list(inputs.swapaxes(0, 1)))

    def _copied(self, name: str, symbols: Array) -> list[dict[str, Any]]:
        """What follows the last signs that it is time to repeat."""
        import torch

        outputs, _ = run_network(self.model.network, symbols.astype(np.int64)[:, None])
        chances = torch.softmax(outputs[-COPIED:, 0], -1).numpy()
        classes = self.model.sizes.classes or tuple(map(str, range(self.model.sizes.outputs)))
        first = len(symbols) - COPIED + 1
        return [
            {"id": name, "step": step, "class": classes[chance.argmax()], "probability": float(chance.max())}
            for step, chance in enumerate(chances, first)
        ]


def _sequences(source: object, columns: tuple[str, ...]) -> Mapping[str, Array]:
    """By its name each sequence, (steps, columns), float64."""
    if isinstance(source, list | tuple):
        listed = [np.asarray(sequence, np.float64) for sequence in cast("Sequence[Any]", source)]
    elif isinstance(source, np.ndarray):
        array = np.asarray(source, np.float64)
        single = array.ndim == (1 if len(columns) == 1 else 2)
        listed = [array] if single else list(array)
    else:
        table = open_table(source)
        table.require(columns)
        values = np.stack([table.numbers(column) for column in columns], 1)
        return {group.id or "1": values[group.rows] for group in table.groups("id" if "id" in table.columns else "")}
    shaped = [sequence[:, None] if sequence.ndim == 1 and len(columns) == 1 else sequence for sequence in listed]
    for place, sequence in enumerate(shaped, 1):
        if sequence.ndim != 2 or sequence.shape[1] != len(columns) or not len(sequence):
            raise DataError(
                f"sequence {place} has another shape",
                expected=f"steps x {len(columns)}: {', '.join(columns)}",
                got=" x ".join(map(str, sequence.shape)),
            )
    return {str(place): sequence for place, sequence in enumerate(shaped, 1)}


def _check_sum(name: str, sequence: Array) -> None:
    values, marks = sequence.T
    if not ((values >= 0) & (values <= 1)).all() or not np.isin(marks, (0, 1)).all() or marks.sum() != 2:
        raise DataError(
            f"sequence {name} is none to add",
            expected="values from 0 to 1, and marks: 1 at two steps, 0 at all others",
            got=f"values from {values.min():g} to {values.max():g}, marks that add up to {marks.sum():g}",
        )


def _check_copy(name: str, sequence: Array) -> None:
    if not np.isin(sequence, range(COPY_SYMBOLS)).all() or len(sequence) <= 2 * COPIED:
        raise DataError(
            f"sequence {name} is none to repeat",
            expected=f"more than {2 * COPIED} whole numbers from 0 to {COPY_SYMBOLS - 1}",
            got=f"{len(sequence)} from {sequence.min():g} to {sequence.max():g}",
        )
