"""Music as piano rolls: which of 88 keys sound in each frame."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import Parts, Ragged
from gatewright.tasks.data.sources import Source, files_of, one_of

KEYS = 88
_VARIABLES = {"train": "traindata", "validation": "validdata", "test": "testdata"}
# scipy's reader goes through damaged files without a plan, and fails wherever it stumbles.
_STUMBLES = (ValueError, TypeError, KeyError, IndexError, OSError, MemoryError, OverflowError, struct.error, zlib.error)


def load_piano_rolls(source: Source = "jsb") -> Parts[Ragged]:
    """Pieces of music, each (frames, 88) of 0 and 1, uint8, in the parts that their file has.

    The files are MATLAB 5 files with the cells traindata, validdata and testdata, as the TCN comparison made them of
    the sets of Boulanger-Lewandowski, Bengio and Vincent (2012, https://arxiv.org/abs/1206.6392): JSB Chorales 229, 76
    and 77 pieces, Nottingham 694, 173 and 170, MuseData 524, 135 and 124, Piano-midi.de 87, 12 and 25. Key 0 is the
    piano's lowest, A0. What a network reads of a piece is `without_last()`, what it predicts `without_first()`.
    """
    path = one_of(files_of(source, "piano rolls"), r".*\.mat", "piano rolls (*.mat)")
    variables = _read(path)
    return Parts(*(_part(path, name, variables) for name in _VARIABLES.values()))


def _read(path: Path) -> dict[str, Any]:
    _check_magic(path)
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(
            f"{path} is read by SciPy, which is not installed", got=str(error), do='pip install "gatewright[train]"'
        ) from error
    try:
        return loadmat(path, variable_names=list(_VARIABLES.values()))
    except _STUMBLES as error:
        got = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is cut short or damaged", got=got, do="get the file again") from error


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as source:
            header = source.read(128)
    except OSError as error:
        raise DataError(f"{path} cannot be read", got=f"{type(error).__name__}: {error}") from error
    if not header:
        raise DataError(f"{path} is empty")
    if not header.startswith(b"MATLAB 5.0 MAT-file") or header[126:128] not in (b"IM", b"MI"):
        raise DataError(
            f"{path} is not a MATLAB 5 file", expected="MATLAB 5.0 MAT-file ...", got=f"{header[:24]!r}", do=_RESAVE
        )


_RESAVE = "save it in MATLAB with: save('name.mat', '-v7')"


def _part(path: Path, name: str, variables: dict[str, Any]) -> Ragged:
    cells = variables.get(name)
    if not isinstance(cells, np.ndarray) or cells.dtype != object or not cells.size:
        raise DataError(
            f"{path} has no cell array {name!r}",
            expected="a cell array of pieces in each of " + ", ".join(_VARIABLES.values()),
            got="none of that name" if cells is None else f"{type(cells).__name__}, {getattr(cells, 'dtype', '')}",
        )
    return Ragged.join([_piece(f"{path}, {name}, piece {place + 1}", one) for place, one in enumerate(cells.flat)])


def _piece(where: str, found: Any) -> NDArray[np.uint8]:
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.shape[1] != KEYS or not len(found):
        raise DataError(
            f"{where} is no piano roll",
            expected=f"frames x {KEYS} keys",
            got=str(getattr(found, "shape", type(found).__name__)),
        )
    if found.dtype.kind not in "biuf":
        raise DataError(f"{where} is no piano roll", expected="numbers", got=str(found.dtype))
    wrong = (found != 0) & (found != 1)  # NaN too
    if wrong.any():
        frame, key = np.argwhere(wrong)[0].tolist()
        raise DataError(
            f"{where}, frame {frame + 1}, key {key + 1}: a key sounds or does not",
            expected="0 or 1",
            got=str(found[frame, key]),
        )
    return found.astype(np.uint8)
