"""Files of arrays in order, without names: Dive into Deep Learning's list of parameters.

`numpy.savez(path, *params)` calls them arr_0, arr_1, ...; the book's GRU has eleven: for each gate W_x, W_h and b, then
those of the head, W_hq and b_q.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewright.convert import files, flat, flat_writing
from gatewright.convert.heads import AROUND
from gatewright.convert.layouts import Layout, layouts
from gatewright.errors import ConversionError
from gatewright.network import Network

BOOK = "d2l"


def read(arrays: files.Arrays, overrides: dict[str, Any]) -> Network:
    """The network in such a list. Its length tells the layer."""
    for row in layouts(BOOK):
        names = _names(row)
        for count in (len(names), len(row.by_gate())):
            if arrays.keys() == {f"arr_{index}" for index in range(count)}:
                by_name = {name: arrays[f"arr_{index}"] for index, name in enumerate(names[:count])}
                return replace(flat.read(by_name, BOOK, overrides), layout=f"{BOOK}-list")
    raise ConversionError(
        "this is no list of a layer's parameters",
        expected=" or ".join(f"{len(_names(row))} arrays ({row.title})" for row in layouts(BOOK)),
        got=f"{len(arrays)} arrays: {', '.join(list(arrays)[:4])}",
    )


def write(network: Network, path: Path) -> None:
    """Write the list, as `params = [numpy.load(path)[f"arr_{i}"] for i in range(11)]` reads it."""
    arrays = flat_writing.write(network, BOOK)
    row = flat_writing.choose(BOOK, network.recurrent[0].cell_config, network.recurrent[0].directions[0])
    ordered = [arrays[name] for name in _names(row) if name in arrays]
    files.write_arrays(path, {f"arr_{index}": array for index, array in enumerate(ordered)})


def _names(row: Layout) -> tuple[str, ...]:
    head = next(head_row for head_row in AROUND if head_row.framework == BOOK)
    return (*row.by_gate(), *((head.weight[0], head.bias) if head.weight else ()))
