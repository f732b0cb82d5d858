"""What files of arrays cannot say: it is told in reading, told in writing, and read with just that it is the same."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import CellConfig, Network, Recurrent
from gatewright.convert.layouts import LAYOUTS, Layout
from gatewright.convert.naming import NAMINGS
from gatewright.convert.overrides import assumed
from gatewright.convert.patterns import AXES
from gatewright.errors import ConversionError

UNITS = 3
SILENT = [row for row in LAYOUTS if row.framework in NAMINGS and assumed(row, row.cell_config, {})]


def layer(equations: CellConfig) -> Recurrent:
    """A layer with random parameters."""
    generator = np.random.default_rng(3)
    kinds = [("W", equations.gates), ("U", equations.gates), ("b", equations.gates)]
    kinds += [("p", ("i", "f", "o"))] if equations.peepholes else []
    kinds += [("P", ("h",))] if equations.projection else []
    shapes = {f"{kind}.{gate}": (UNITS,) * len(AXES[kind]) for kind, gates in kinds for gate in gates}
    return Recurrent(equations, ({name: generator.standard_normal(shape) for name, shape in shapes.items()},))


def other(row: Layout) -> CellConfig:
    """The config of a layer of that layout, of which nothing is what is taken for granted."""
    facts: dict[str, Any] = {
        name: values[-1] for name, values in assumed(row, row.cell_config, {}).items() if len(values) > 1
    }
    facts |= {name: 0.5 for name in assumed(row, row.cell_config, {}) if name.endswith("clip")}
    return convert.formats.flat.apply.config_of(row, **facts)


@pytest.mark.parametrize("row", SILENT, ids=lambda row: row.key)
def test_what_a_file_cannot_say_is_told_and_enough(row: Layout, tmp_path: Path) -> None:
    equations = other(row)
    network = Network((layer(equations),))
    convert.write(network, tmp_path / "own.safetensors", "gatewright")
    report = convert.convert(tmp_path / "own.safetensors", tmp_path / "theirs.npz", target_layout=row.framework)
    facts = {
        name: getattr(equations, name)
        for name in assumed(row, row.cell_config, {})
        if getattr(equations, name) != getattr(row.cell_config, name)
    }
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in facts.items())
    python = ", ".join(f"{name}={value!r}" for name, value in facts.items())
    assert f"not in theirs.npz, and to be given when it is read: {options}, or {python} in Python" in report.notes
    inputs = np.random.default_rng(4).standard_normal((9, 2, UNITS))
    wanted = convert.run(network, inputs)
    again = convert.read(tmp_path / "theirs.npz", row.framework, **facts)
    np.testing.assert_allclose(convert.run(again, inputs), wanted, atol=1e-12)
    stranger = convert.read(tmp_path / "theirs.npz", row.framework)
    assert np.abs(convert.run(stranger, inputs) - wanted).max() > 1e-3
    assert any(note.startswith("not in the file, and taken for granted: ") for note in stranger.notes)


@pytest.mark.parametrize("row", SILENT, ids=lambda row: row.key)
def test_where_the_defaults_are_right_nothing_has_to_be_given(row: Layout, tmp_path: Path) -> None:
    convert.write(Network((layer(row.cell_config),)), tmp_path / "own.safetensors", "gatewright")
    report = convert.convert(tmp_path / "own.safetensors", tmp_path / "theirs.npz", target_layout=row.framework)
    assert not any("to be given when it is read" in note for note in report.notes)


def test_overrides_that_no_layer_agrees_with_are_named(tmp_path: Path) -> None:
    convert.write(Network((layer(CellConfig("gru", reset="after")),)), tmp_path / "gru.npz", "torch")
    for overrides in ({"activation": "relu"}, {"activation": "relu", "prefix": ""}):
        with pytest.raises(ConversionError) as refusal:
            convert.read(tmp_path / "gru.npz", "torch", **overrides)
        assert str(refusal.value) == (
            f"{tmp_path / 'gru.npz'}: no layer of torch that these arrays can be has activation relu\n"
            "  expected: torch.nn.GRU and GRUCell: activation tanh\n"
            "  do: leave activation out, or give another value"
        )


def test_an_override_is_named_where_another_layer_of_the_file_agrees(tmp_path: Path) -> None:
    """The GRU has no relu; the RNN, which has it, is read alone where it is named."""
    arrays: dict[str, np.ndarray] = {}
    for name, config in (("rnn", CellConfig("rnn")), ("gru", CellConfig("gru", reset="after"))):
        convert.write(Network((layer(config),)), tmp_path / "one.npz", "torch")
        arrays |= {f"{name}.{key}": array for key, array in np.load(tmp_path / "one.npz").items()}
    np.savez(tmp_path / "two.npz", **arrays)
    with pytest.raises(ConversionError, match="no layer of torch that these arrays can be has activation relu"):
        convert.read(tmp_path / "two.npz", "torch", activation="relu")
    read = convert.read(tmp_path / "two.npz", "torch", activation="relu", prefix="rnn")
    assert [str(part.equations) for part in read.recurrent] == ["RNN, activation relu"]


def test_overrides_of_two_names_must_agree(tmp_path: Path) -> None:
    convert.write(Network((layer(CellConfig("rnn")),)), tmp_path / "rnn.npz", "torch")
    source = tmp_path / "rnn.npz", tmp_path / "again.npz"
    layouts = {"source_layout": "torch", "target_layout": "torch"}
    with pytest.raises(ConversionError) as refusal:
        convert.convert(*source, **layouts, overrides={"activation": "relu"}, facts={"activation": "tanh"})
    assert str(refusal.value) == (
        "overrides and facts give different values of activation\n"
        "  expected: overrides alone: facts is their earlier name\n"
        "  got: activation: 'relu' and 'tanh'"
    )
    both = convert.convert(*source, **layouts, overrides={"activation": "relu"}, facts={"activation": "relu"})
    assert both.layers == ("RNN, activation relu, 3 to 3",)


def test_the_earlier_keyword_of_a_recurrent_layer_is_taken(tmp_path: Path) -> None:
    newer = layer(CellConfig("rnn"))
    earlier = Recurrent(equations=newer.cell, directions=newer.directions)
    assert earlier == newer
    assert dataclasses.replace(newer, equations=CellConfig("rnn", activation="relu")).cell.activation == "relu"
    with pytest.raises(TypeError, match="multiple values for argument 'cell'"):
        Recurrent(newer.cell, newer.directions, equations=newer.cell)


def test_cell_configs_have_their_earlier_names_too() -> None:
    newer, row = layer(CellConfig("rnn")), LAYOUTS[0]
    assert (newer.equations, newer.equations_of_directions) == (newer.cell_config, newer.cell_configs)
    assert row.equations == row.cell_config


def test_layers_of_different_activations_are_refused_where_a_file_cannot_say_them(tmp_path: Path) -> None:
    parts = tuple(layer(CellConfig("rnn", activation=name)) for name in ("tanh", "relu"))
    convert.write(Network(parts), tmp_path / "own.safetensors", "gatewright")
    with pytest.raises(ConversionError) as refusal:
        convert.convert(tmp_path / "own.safetensors", tmp_path / "theirs.npz", target_layout="flax")
    assert str(refusal.value) == (
        "files of flax do not say the activation of a layer, and these layers have different ones\n"
        "  expected: one activation in all layers\n"
        "  got: tanh, relu\n"
        "  do: convert the layers one by one, or choose a layout whose files say it, such as gatewright or onnx"
    )
    assert sorted(one.name for one in tmp_path.iterdir()) == ["own.safetensors"]


def test_the_order_of_modules_is_told_where_their_names_do_not_say_it(tmp_path: Path) -> None:
    """Layers that PyTorch has in modules of their own, and that could all read the same input."""
    parts = (layer(CellConfig("gru", reset="after")), layer(CellConfig("lstm")))
    convert.write(Network(parts), tmp_path / "own.safetensors", "gatewright")
    report = convert.convert(tmp_path / "own.safetensors", tmp_path / "theirs.pt")
    assumption_notes = (
        "not in theirs.pt, and to be given when it is read: --prefix 0. --prefix 1., or prefix=('0.', '1.') in Python"
    )
    assert assumption_notes in report.notes
    assert "theirs.pt, run by PyTorch" in report.differences
