"""Time series in arrays: of a program, or of an `.npz` file."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gatewright.errors import ConversionError, DataError
from gatewright.tasks.data.ragged import Array
from gatewright.tasks.data.sequences.cases import SeriesCases, channel_names, joined
from gatewright.untrusted.npy import read_npy
from gatewright.untrusted.unpacking import DATA_LIMIT, too_large_zip

Layout = Literal["infer", "steps-channels", "channels-steps"]
_PAIRS = (("x", "y"), ("x_train", "y_train"), ("x_test", "y_test"))
_NAMES = "x and y; or X_train, y_train, X_test and y_test"


def series_of_arrays(
    name: str,
    arrays: Array | Sequence[Array],
    labels: Any = None,
    *,
    layout: Layout = "infer",
    channels: Sequence[str] = (),
    lengths: Array | None = None,
) -> SeriesCases:
    """Series of arrays of numbers, each known by its row.

    `arrays` are (cases, steps), (cases, steps, channels), or a sequence of (steps,) or (steps, channels), each of its
    own length. `labels` are (cases,) or (cases, targets). A series ends with its last step that is not NaN, or at its
    length. With layout="channels-steps" the last two axes are the other way round.
    """
    cases = [_case(name, row, case, layout) for row, case in enumerate(arrays)]
    if not cases:
        raise DataError(f"{name} holds no series")
    if lengths is not None:
        for row, (case, end) in enumerate(zip(cases, lengths, strict=True)):
            if not 1 <= end <= len(case):
                expected, got = f"1 to {len(case)} steps", str(int(end))
                raise DataError(f"{name}, row {row}: the length is out of range", expected=expected, got=got)
            cases[row] = case[: int(end)]
    widths = sorted({case.shape[1] for case in cases})
    if len(widths) > 1:
        got = ", ".join(map(str, widths))
        raise DataError(f"{name}: the series differ in their number of channels", expected="one number", got=got)
    sequences = joined(cases)
    if layout == "infer" and widths[0] > int(sequences.lengths.max()):
        raise DataError(
            f"{name}: the series have more channels than steps, as if their axes were exchanged",
            expected="(cases, steps, channels)",
            got=f"{int(sequences.lengths.max())} steps of {widths[0]} channels",
            do="say what the axes are with layout='channels-steps' or layout='steps-channels'",
            shell="say what the axes are with --set layout=channels-steps or --set layout=steps-channels",
        )
    if channels and len(channels) != widths[0]:
        expected, got = f"{widths[0]} names", ", ".join(channels)
        raise DataError(f"{name}: each channel has a name", expected=expected, got=got)
    names = tuple(channels) or channel_names(widths[0])
    return SeriesCases(name, sequences, names, "row", tuple(range(len(cases))), *_labels(name, labels, len(cases)))


def _case(name: str, row: int, case: Any, layout: Layout) -> Array:
    try:
        values = np.asarray(case, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}, row {row} holds no numbers", got=str(error)) from error
    if values.ndim == 1:
        return values[:, np.newaxis]
    if values.ndim != 2:
        expected, got = "(steps,) or (steps, channels)", f"shape {values.shape}"
        raise DataError(f"{name}, row {row} is no series", expected=expected, got=got)
    return values.T if layout == "channels-steps" else values


def _labels(name: str, labels: Any, count: int) -> tuple[Array | None, tuple[str, ...]]:
    if labels is None:
        return None, ("label",)
    array = np.asarray(labels)
    if array.dtype == object:
        array = np.array([str(label) for label in array.tolist()])
    if array.ndim not in (1, 2) or len(array) != count:
        expected, got = f"(cases,) or (cases, targets) of {count} cases", f"shape {array.shape}"
        raise DataError(f"{name}: each series has a label", expected=expected, got=got)
    array = array.reshape(count, -1)
    names = tuple(f"target {place}" for place in range(1, array.shape[1] + 1))
    return array, ("label",) if len(names) == 1 else names


def read_npz(path: Path, layout: Layout = "infer") -> tuple[SeriesCases, SeriesCases | None]:
    """The series of an `.npz` file, and those to test with where it has them.

    It holds x and y, or X_train, y_train, X_test and y_test, as `series_of_arrays` takes them; and may hold `channels`,
    names, and `lengths` (`lengths_train`, `lengths_test`). Python objects, which would be unpickled, are refused.
    """
    arrays = {name.lower(): array for name, array in _arrays(path).items()}
    channels = [str(name) for name in arrays.get("channels", np.array([])).tolist()]
    parts = [
        series_of_arrays(
            str(path),
            arrays[x],
            arrays.get(y),
            layout=layout,
            channels=channels,
            lengths=arrays.get("lengths" + x.removeprefix("x")),
        )
        for x, y in _PAIRS
        if x in arrays
    ]
    if not parts or {"x", "x_train"} <= {*arrays}:
        raise DataError(f"{path} does not say which arrays are series", expected=_NAMES, got=", ".join(arrays))
    return parts[0], parts[1] if len(parts) > 1 else None


def _arrays(path: Path) -> Mapping[str, Array]:
    try:
        total = too_large_zip(path, DATA_LIMIT)
        if total is not None:
            raise DataError(
                f"{path} unpacks to more than a file of its size should",
                got=f"{total:,} bytes",
                do="save the arrays without compression, with numpy.savez",
            )
        with zipfile.ZipFile(path) as opened:
            return {
                member.filename.removesuffix(".npy"): read_npy(path, opened.open(member), member.file_size)
                for member in opened.infolist()
            }
    except ConversionError as error:
        objects = "objects" in error.problem
        do = "save series of different lengths as one array, padded with NaN" if objects else None
        raise DataError(error.problem, expected=error.expected, got=error.got, do=do) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        got = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} cannot be read", expected="a complete .npz file of numbers", got=got) from error
