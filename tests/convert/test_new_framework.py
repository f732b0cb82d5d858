"""A framework that nobody has: two rows are enough to read and write its files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright.cell_config.config import CellConfig
from gatewright.convert import flat, flat_writing, formats, layouts, run
from gatewright.convert.flat import NotWholeError
from gatewright.convert.layout import FUSED, Layout, row_arrays
from gatewright.convert.naming import NAMINGS, Naming
from gatewright.errors import ConversionError
from gatewright.network import Network, RecurrentPart

TIDAL = Layout(
    "tidal", "gru", "Tidal's GRU", "n r z", row_arrays("kernel", "recurrent", "bias", FUSED), "", reset="before",
    update="replaces",
)  # fmt: skip


@pytest.fixture(autouse=True)
def tidal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "LAYOUTS", (*layouts.LAYOUTS, TIDAL))
    monkeypatch.setitem(NAMINGS, "tidal", (Naming("{prefix}block{layer}/{array}"),))


def arrays(rng: np.random.Generator, layers: int = 1) -> dict[str, np.ndarray]:
    shapes = {"kernel": (3, 9), "recurrent": (3, 9), "bias": (9,)}
    return {
        f"block{layer}/{name}": rng.standard_normal(shape) for layer in range(layers) for name, shape in shapes.items()
    }


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def test_it_is_read_as_its_equations_say_and_written_as_it_was(rng: np.random.Generator) -> None:
    saved = arrays(rng)
    kernel, recurrent, bias = saved.values()
    (un, ur, uz), state, wanted = np.split(recurrent, 3, -1), np.zeros((2, 3)), []
    inputs = rng.standard_normal((5, 2, 3))
    for x in inputs:
        n, r, z = np.split(x @ kernel + bias, 3, -1)
        r, z = sigmoid(r + state @ ur), sigmoid(z + state @ uz)
        state = (1 - z) * state + z * np.tanh(n + (r * state) @ un)
        wanted.append(state)
    network = flat.read(saved, "tidal", {})
    np.testing.assert_allclose(run(network, inputs), wanted, atol=1e-13)
    written = flat_writing.write(network, "tidal")
    assert written.keys() == saved.keys()  # with a number, as it has no names without one
    assert all(np.array_equal(written[name], array) for name, array in saved.items())


@pytest.mark.parametrize("missing", ["kernel", "recurrent", "bias"])
def test_a_layer_of_common_names_that_is_not_whole_is_refused(missing: str, rng: np.random.Generator) -> None:
    saved = arrays(rng, layers=3)
    del saved[f"block0/{missing}"]
    with pytest.raises(NotWholeError, match=f"layer 0 of '' is no whole layer: it is without {missing}"):
        flat.read(saved, "tidal", {})
    assert len(flat.read(saved, "tidal", {"prefix": ["block1", "block2"]}).recurrent) == 2


def test_a_second_format_of_a_suffix_is_guessed_as_the_first_is(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = RecurrentPart(CellConfig("gru", reset="before"), flat.read(arrays(rng), "tidal", {}).recurrent[0].directions)

    def read(path: Path, overrides: dict[str, Any]) -> Network:
        if path.read_text() != "tidal":
            raise ConversionError("this is no file of Tidal")
        return Network((part,), "tidal-json")

    monkeypatch.setattr(
        formats, "FORMATS", {**formats.FORMATS, "tidal-json": formats.Format("tidal-json", (".json",), read, print)}
    )
    (tmp_path / "model.json").write_text("tidal")
    assert formats.read(tmp_path / "model.json").layout == "tidal-json"
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ConversionError, match="this is no file of Tidal"):
        formats.read(tmp_path / "model.json")
