"""Music as piano rolls: which of 88 keys sound in each frame."""

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.music.mat_file import read_cells
from gatewright.tasks.data.music.midi import KEYS
from gatewright.tasks.data.published.sources import Source, files_of, required_file
from gatewright.tasks.data.ragged import Array, Ragged, Splits

_VARIABLES = ("traindata", "validdata", "testdata")


def load_piano_rolls(source: Source = "jsb") -> Splits[Ragged]:
    """Pieces of music, each (frames, 88) of 0 and 1, uint8, in the parts that their file has.

    The files are MATLAB 5 files with the cells traindata, validdata and testdata, as the TCN comparison made them of
    the sets of Boulanger-Lewandowski, Bengio and Vincent (2012, https://arxiv.org/abs/1206.6392): JSB Chorales 229, 76
    and 77 pieces, Nottingham 694, 173 and 170, MuseData 524, 135 and 124, Piano-midi.de 87, 12 and 25. Key 0 is the
    piano's lowest, A0. What a network reads of a piece is `without_last()`, what it predicts `without_first()`.
    """
    path = required_file(files_of(source, "piano rolls"), r".*\.mat", "piano rolls (*.mat)")
    cells, parts = read_cells(path), list[Ragged]()
    for name in _VARIABLES:
        if not cells.get(name):
            raise DataError(
                f"{path} has no pieces in {name!r}",
                expected="a cell array of pieces in each of " + ", ".join(_VARIABLES),
                got=", ".join(cells) or "no cell array",
            )
        pieces = enumerate(cells[name], 1)
        parts.append(Ragged.join([check_piece(f"{path}, {name}, piece {place}", piece) for place, piece in pieces]))
    return Splits(*parts)


def check_piece(where: str, piece: Array) -> NDArray[np.uint8]:
    """A piece, (frames, 88), as bytes; a DataError that says where it is no piano roll."""
    if piece.ndim != 2 or piece.shape[1] != KEYS or not len(piece):
        raise DataError(
            f"{where} is no piano roll", expected=f"frames x {KEYS} keys", got=" x ".join(map(str, piece.shape))
        )
    wrong = (piece != 0) & (piece != 1)  # NaN too
    if wrong.any():
        frame, key = np.argwhere(wrong)[0].tolist()
        raise DataError(
            f"{where}, frame {frame + 1}, key {key + 1}: a key sounds or does not",
            expected="0 or 1",
            got=str(piece[frame, key]),
        )
    return piece.astype(np.uint8)
