"""Data of the recipe `tagging` from recordings of sensors: windows of channels with a label for each row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.classifier import check_known_labels, check_two_labels
from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.digest import digest
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.ragged import Ragged, Splits, held_out
from gatewright.tasks.data.scaling import Scaling, variable_scales
from gatewright.tasks.data.tables.roles import Roles
from gatewright.tasks.data.tags.steps import Recording
from gatewright.tasks.run_data import Data, Sizes
from gatewright.tasks.signatures import RAW_INPUTS, SOFTMAX, plain_scaling
from gatewright.tasks.tagging.objective import Tags
from gatewright.tasks.tagging.settings import TaggingSettings

Numbers = NDArray[np.int64]

_MEASURED_ROWS = 100
_FEWEST = 10  # recordings of which whole ones can be held out
_MOST_LABELS = 1000
_LITTLE = 100_000  # rows of which windows to train on overlap


class Windows(NamedTuple):
    """Overlapping windows: the steps that are read, and those that are predicted there.

    Each step of a sequence is predicted in one window. The first and last quarter of a window are only read, except at
    the ends of the sequence.
    """

    sequence: Numbers
    start: Numbers  # of what is read
    length: Numbers
    first: Numbers  # of what is answered, from the start of the window on
    answered: Numbers


def overlapping(lengths: Sequence[int], window: int) -> Windows:
    """Windows of that many steps at most."""
    context = window // 4
    core = window - 2 * context
    rows: list[tuple[int, int, int, int, int]] = []
    for sequence, length in enumerate(lengths):
        begin = 0
        while begin < length:
            start = max(0, begin - context)
            stop = min(start + window, length)
            end = length if stop == length else min(begin + core + (context if begin == 0 else 0), length)
            rows.append((sequence, start, stop - start, begin - start, end - begin))
            begin = end
    return Windows(*np.array(rows, np.int64).reshape(-1, 5).T)


def channel_data(
    recipe: TaggingSettings,
    source: object,
    parts: Mapping[str, Sequence[Recording]],
    roles: Roles,
    remarks: Sequence[str] = (),
) -> Data:
    """The recordings of each part as batches, with settings that follow from the data. Missing parts are held out."""
    _refuse_of_tokens(recipe)
    recordings, remark = _held_out(parts, recipe)
    classes = _classes_of(recordings, source_name(source), roles.label or "label")
    values, labels = _joined(recordings.train, classes)
    scaling = Scaling.of(values.values)
    cut = _train_windows(values, recipe.window)
    inputs, targets = Ragged(values.values, *cut), Ragged(labels.values, *cut)
    train = RaggedBatches(inputs, targets, recipe.batch, seed=recipe.seed, target_fill=Tags.padding)
    measured = {
        name: window_batches(getattr(recordings, name), classes, recipe.window) for name in ("validation", "test")
    }
    return Data(
        {"train": train, **measured},
        Sizes(values.values.shape[1], len(classes), classes=classes, variables=roles.channels),
        origin={
            "tagged": source_name(source),
            "rows": len(values.values),
            "classes": list(classes),
            "sha256": digest([[recording.values, recording.labels] for part in recordings for recording in part]),
        },
        scaling=scaling,
        fitted=recipe.differing(
            {
                "inputs": "channels",
                "scheme": "none",
                "best_by": "accuracy",
                "epochs": recipe.enough_epochs(len(train.inputs)),
                "label": roles.label,
                "id": roles.id,
                "time": ",".join(roles.time),
            }
        ),
        remarks=tuple(filter(None, (*remarks, roles.remark, remark))),
        signature={
            "columns": {
                "label": roles.label,
                "id": roles.id,
                "time": list(roles.time),
                "channels": list(roles.channels),
            },
            "scheme": "none",
            "inputs": RAW_INPUTS,
            "probabilities": SOFTMAX,
            "scaling": plain_scaling(scaling),
            "variables": variable_scales(values.values, roles.channels),
            "window": {"steps": recipe.window, "only read on each side": recipe.window // 4},
        },
    )


def _refuse_of_tokens(recipe: TaggingSettings) -> None:
    for name, usual, others in (("output", "softmax", "crf"), ("best_by", "accuracy", "f1")):
        if (asked := getattr(recipe, name)) == others:
            raise OptionError(
                f"{name}={asked} is for sentences, and this data is recordings of channels",
                expected=f"{name}={usual}",
                do="leave it out",
            )


def _classes_of(parts: Splits[Sequence[Recording]], source: str, column: str) -> tuple[str, ...]:
    """All labels, sorted as numbers or as text. Raises DataError for too many or too few."""
    counts = Counter(label for part in parts for recording in part for label in recording.labels)
    rows = counts.total()
    if len(counts) > min(_MOST_LABELS, max(2, rows // 2)):
        raise DataError(
            f"{source}: {column!r} has {len(counts):,} different values in {rows:,} rows",
            expected="one of a few labels for each row",
            got=", ".join(map(repr, list(counts)[:5])),
            do="name the column of the labels: label='COLUMN'",
            shell="name the column of the labels: add --set label=COLUMN",
        )
    check_two_labels(source, "row", counts)
    return tuple(sorted(counts, key=int if all(name.isdecimal() for name in counts) else str))


def channel_evaluation(source: object, parts: Mapping[str, Sequence[Recording]], sizes: Sizes, window: int) -> Data:
    """Other recordings, all of each part. Raises DataError for labels that the model does not know."""
    classes = sizes.classes or ()
    labels = (label for part in parts.values() for recording in part for label in recording.labels)
    check_known_labels(source_name(source), labels, classes)
    batches = {name: window_batches(part, classes, window) for name, part in parts.items()}
    values = np.concatenate([recording.values for part in parts.values() for recording in part])
    signature = {"variables": variable_scales(values, sizes.variables or ())}
    return Data(batches, sizes, measured=tuple(batches), signature=signature)


def window_batches(recordings: Sequence[Recording], classes: Sequence[str], window: int) -> RaggedBatches:
    """Overlapping windows; steps that are only read have no target."""
    values, labels = _joined(recordings, classes)
    windows = overlapping(values.lengths.tolist(), window)
    starts = values.starts[windows.sequence] + windows.start
    read = Ragged(values.values, starts, windows.length).compact()
    targets = Ragged(labels.values, starts, windows.length).compact()
    place = np.arange(len(targets.values)) - np.repeat(targets.starts, targets.lengths)
    first, end = (np.repeat(places, windows.length) for places in (windows.first, windows.first + windows.answered))
    answers = np.where((place >= first) & (place < end), targets.values, Tags.padding)
    answered = Ragged(answers, targets.starts, targets.lengths)
    return RaggedBatches(read, answered, _MEASURED_ROWS, target_fill=Tags.padding)


def _joined(recordings: Sequence[Recording], classes: Sequence[str]) -> tuple[Ragged, Ragged]:
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[label] for recording in recordings for label in recording.labels], np.int64)
    lengths = [len(recording.values) for recording in recordings]
    return Ragged.join([recording.values for recording in recordings]), Ragged.from_lengths(labels, lengths)


def _train_windows(values: Ragged, window: int) -> tuple[Numbers, Numbers]:
    """Starts and lengths of training windows; for small data they overlap, with each row at four places."""
    stride = max(1, window // 4) if len(values.values) < _LITTLE else window
    begins = [
        np.unique(np.append(np.arange(0, length - window, stride), max(0, length - window)))
        for length in values.lengths.tolist()
    ]
    starts = np.concatenate([start + offsets for start, offsets in zip(values.starts.tolist(), begins, strict=True)])
    lengths = np.repeat(np.minimum(values.lengths, window), [len(offsets) for offsets in begins])
    return starts, lengths


class _RowRange(NamedTuple):
    """Rows of a recording, from `start` to the one before `stop`."""

    recording: int
    start: int
    stop: int


def _held_out(
    parts: Mapping[str, Sequence[Recording]], recipe: TaggingSettings
) -> tuple[Splits[Sequence[Recording]], str]:
    """The three parts, and remarks on those that were held out."""
    lacking = [name for name in ("test", "validation") if name not in parts]
    train, by_stretches = parts["train"], len(parts["train"]) < _FEWEST
    left = [
        stretch
        for place, recording in enumerate(train)
        for stretch in _stretches(place, recording, recipe.window, by_stretches)
    ]
    whole = dict(parts)
    for name in lacking:
        kept, out = held_out(np.zeros(len(left), np.int64), recipe.held_out, recipe.seed)
        whole[name], left = _rows(train, [left[place] for place in out]), [left[place] for place in kept]
    what = "stretches of rows" if by_stretches else "whole recordings"
    remark = f"held out for {' and '.join(reversed(lacking))}: {what}, at random by seed" if lacking else ""
    return Splits(_rows(train, left), whole["validation"], whole["test"]), remark


def _stretches(place: int, recording: Recording, window: int, by_stretches: bool) -> list[_RowRange]:
    """A recording as a whole, or in stretches of about a window, at least ten of them."""
    length = len(recording.values)
    count = min(length, max(_FEWEST, length // window)) if by_stretches else 1
    edges = [part * length // count for part in range(count + 1)]
    return [_RowRange(place, start, stop) for start, stop in pairwise(edges)]


def _rows(recordings: Sequence[Recording], stretches: Sequence[_RowRange]) -> list[Recording]:
    """The rows of stretches; neighbouring stretches become one recording again."""
    joined: list[_RowRange] = []
    for stretch in sorted(stretches):
        before = joined[-1] if joined else None
        if before is not None and (before.recording, before.stop) == (stretch.recording, stretch.start):
            joined[-1] = before._replace(stop=stretch.stop)
        else:
            joined.append(stretch)
    rows = [(recordings[stretch.recording], slice(stretch.start, stretch.stop)) for stretch in joined]
    return [Recording(whole.id, whole.values[cut], whole.labels[cut], whole.times[cut]) for whole, cut in rows]
