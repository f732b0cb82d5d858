"""Arrays by name that are not whole: whatever is missing, misnamed or of another shape is refused or named, never left
out without a word."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import Dense, Embedding, Mean, Network, OneHot, Recurrent, files, flat, flat_writing
from gatewright.convert.heads import AROUND, around
from gatewright.convert.layouts import LAYOUTS, Layout, layouts
from gatewright.convert.naming import NAMINGS, locate, path_of
from gatewright.convert.patterns import AXES
from gatewright.errors import ConversionError

Arrays = dict[str, np.ndarray]
UNITS = 4  # and features: layers of these may be left out of a stack, and nothing fails to fit
ROWS = [row for row in LAYOUTS if row.framework in NAMINGS]


def drawn(row: Layout, inputs: int) -> dict[str, np.ndarray]:
    """Random parameters of one layer and direction, in all places that its layout has."""
    generator = np.random.default_rng(1)
    slots = [(kind, gate) for _, one, gates in row.stored() for kind in one.kinds.split() for gate in gates]
    sizes = {"hidden": UNITS, "state": UNITS, "input": inputs}
    return {f"{kind}.{gate}": generator.standard_normal([sizes[axis] for axis in AXES[kind]]) for kind, gate in slots}


def written(row: Layout, layers: int, directions: int) -> Arrays:
    """The arrays of a stack of such layers, with what the framework keeps around them."""
    inputs = [UNITS] + [UNITS * directions] * (layers - 1)
    parts: list[Any] = [Recurrent(row.cell_config, (drawn(row, size),) * directions) for size in inputs]
    head = around(row.framework, row.family)
    if head is not None:
        before = [OneHot(UNITS)] if head.one_hot else [Embedding(np.ones((7, UNITS)))]
        bias = np.ones(UNITS) if head.bias else None
        after = [Mean()] * head.mean + [Dense(np.ones((UNITS, UNITS)), bias, head.activation)] * bool(head.weight)
        parts = [*before, *parts, *after]
    return flat_writing.write(Network(tuple(parts)), row.framework)


def stacks() -> Iterator[tuple[Layout, int, int]]:
    """Every row with as many layers and directions as its framework has names for."""
    for row in ROWS:
        many = any("{layer}" in one.template for one in NAMINGS[row.framework]) or row.stacked
        directions = (1, 2) if row.family == "gru" and any(one.directions for one in NAMINGS[row.framework]) else (1,)
        for count in directions:
            if many or count == 1 or row.framework == "dl4mt":
                yield row, (3 if count == 1 else 2) if many else 1, count


STACKS = list(stacks())
IDS = [f"{row.key}-{layers}x{directions}" for row, layers, directions in STACKS]


def outcome(arrays: Arrays, framework: str) -> Network | ConversionError:
    """The network that is read, or the refusal."""
    try:
        return flat.read(arrays, framework, {})
    except ConversionError as error:
        return error


def named(network: Network | ConversionError, *names: str) -> bool:
    """Whether a reading refuses the file, or names one of these arrays in what it tells."""
    if isinstance(network, ConversionError):
        return True
    told = " ".join((*network.notes, *network.rest))
    return any(name in told for name in names)


def described(network: Network | ConversionError) -> str:
    """A reading in few words."""
    return str(network) if isinstance(network, ConversionError) else f"{len(network.parts)} parts, {network.notes}"


@pytest.mark.parametrize(("row", "layers", "directions"), STACKS, ids=IDS)
def test_what_is_whole_is_read_whole(row: Layout, layers: int, directions: int) -> None:
    network = flat.read(written(row, layers, directions), row.framework, {})
    assert (len(network.recurrent), len(network.recurrent[0].directions)) == (layers, directions)
    assert (dict(network.rest), network.notes) == ({}, ())


@pytest.mark.parametrize(("row", "layers", "directions"), STACKS, ids=IDS)
def test_an_array_that_is_missing_is_never_silent(row: Layout, layers: int, directions: int) -> None:
    arrays = written(row, layers, directions)
    around_it = [one for one in AROUND if one.framework == row.framework]
    for missing in arrays:
        got = outcome({name: one for name, one in arrays.items() if name != missing}, row.framework)
        optional = [one for one in around_it if missing in ((one.embedding or " ")[0], (one.weight or " ")[0])]
        label = missing if optional else f"layer {layer_of(missing, row.framework)} of"
        assert named(got, label), f"without {missing}: {described(got)}"


@pytest.mark.parametrize(("row", "layers", "directions"), STACKS, ids=IDS)
@pytest.mark.parametrize("change", ["{}_raw", "x{}"])
def test_an_array_of_another_name_is_never_silent(row: Layout, layers: int, directions: int, change: str) -> None:
    arrays = written(row, layers, directions)
    for name in arrays:
        other = change.format(name)
        got = outcome({other if one == name else one: array for one, array in arrays.items()}, row.framework)
        assert named(got, other), f"{name} as {other}: {described(got)}"


@pytest.mark.parametrize(("row", "layers", "directions"), STACKS, ids=IDS)
def test_an_array_of_another_shape_is_refused(row: Layout, layers: int, directions: int) -> None:
    arrays = written(row, layers, directions)
    for name, array in arrays.items():
        for changed in (array[..., :-1], np.concatenate([array, array])):
            got = outcome({**arrays, name: changed}, row.framework)
            assert isinstance(got, ConversionError) or as_large(got, arrays, row), f"{name}: {described(got)}"


def as_large(network: Network, arrays: Arrays, row: Layout) -> bool:
    """Whether a network has all parts of the whole one: of as many features or symbols as another array may have."""
    whole = flat.read(arrays, row.framework, {})
    kinds = [[type(part) for part in one.parts if not isinstance(part, OneHot)] for one in (network, whole)]
    return kinds[0] == kinds[1] and not network.rest and network.recurrent[0].hidden == UNITS


@pytest.mark.parametrize(("row", "layers", "directions"), [one for one in STACKS if one[1] > 1 and not one[0].stacked])
def test_a_layer_that_is_missing_is_never_silent(row: Layout, layers: int, directions: int) -> None:
    arrays = written(row, layers, directions)
    for number in range(layers - 1):  # the last one may never have been
        left = {name: one for name, one in arrays.items() if layer_of(name, row.framework) != number}
        assert 0 < len(left) < len(arrays)
        assert isinstance(outcome(left, row.framework), ConversionError)


def layer_of(name: str, framework: str) -> int | None:
    """The number of the layer that an array is of."""
    known = [array for row in layouts(framework) for array, *_ in row.stored()]
    places = (locate(path_of(name, framework), naming, known) for naming in NAMINGS[framework])
    return next((one[0].layer for one in places if one), None)


def test_a_file_is_opened_once_however_many_layouts_look_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "none.npz", **{f"dense{index}": np.ones(2) for index in range(3)})
    opened: list[Path] = []
    read_arrays = files.read_arrays
    monkeypatch.setattr(files, "read_arrays", lambda path: (opened.append(path), read_arrays(path))[1])
    with pytest.raises(ConversionError, match="has no layout that the table knows"):
        convert.read(tmp_path / "none.npz")
    assert opened == [tmp_path / "none.npz"]


def test_a_layer_that_one_layout_misses_is_not_read_as_another(tmp_path: Path) -> None:
    """A GRU of PyTorch's without a bias would be Equinox's without biases."""
    arrays = {"weight_ih": np.ones((12, 4)), "weight_hh": np.ones((12, 4)), "bias_ih": np.ones(12)}
    np.savez(tmp_path / "cell.npz", **arrays)
    with pytest.raises(ConversionError, match="has a part of its biases"):
        convert.read(tmp_path / "cell.npz")


def test_what_an_optimizer_keeps_of_a_layer_is_no_part_of_it() -> None:
    row = next(row for row in ROWS if row.key == "tf1/gru")
    arrays = written(row, 3, 1)
    kept = {f"{name}/Adam": np.zeros_like(one) for name, one in arrays.items()}
    assert flat.read({**arrays, **kept}, "tf1", {}).rest.keys() == kept.keys()


def test_a_layer_is_chosen_by_its_number_where_others_are_broken() -> None:
    row = next(row for row in ROWS if row.key == "flax/gru")
    arrays = {name: one for name, one in written(row, 3, 1).items() if name != "params/layers_1/cell/hn/bias"}
    network = flat.read(arrays, "flax", {"prefix": "params/layers_2"})
    assert len(network.recurrent) == 1
    assert len(network.rest) == len(arrays) - 10
    with pytest.raises(ConversionError, match="the layers of 'params/' do not follow one another"):
        flat.read(arrays, "flax", {"prefix": "params/"})
