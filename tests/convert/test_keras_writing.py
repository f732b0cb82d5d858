"""Networks as files of Keras: they come back as they were, or are refused with the reason."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.cell_config.config import CellConfig
from gatewright.convert import (
    Activation,
    BatchNorm,
    Dense,
    Embedding,
    LayerNorm,
    Masking,
    Max,
    Mean,
    Network,
    OneHot,
    Recurrent,
    Reshape,
    Reverse,
    Scale,
    Step,
    apply,
)
from gatewright.convert.layouts import BY_KEY
from gatewright.errors import ConversionError
from tests.convert.keras_models import INPUTS, UNITS, drawn, kernels

h5py = pytest.importorskip("h5py")

ROWS = {"rnn": "SimpleRNN", "gru": "GRU", "gru-before": "GRU", "lstm": "LSTM"}


def made(row: str, *, inputs: int = INPUTS, both: bool = False, **settings: Any) -> Recurrent:
    """A layer with random weights."""
    arrays = [kernels(ROWS[row], inputs=inputs, seed=seed, after=row == "gru") for seed in (0, 7)[: 1 + both]]
    layout = BY_KEY[f"keras/{row}"]
    return Recurrent(layout.cell_config, tuple(apply.read(layout, one) for one in arrays), **settings)


def dense(inputs: int, outputs: int = 2, activation: str = "softmax") -> Dense:
    return Dense(drawn(outputs, inputs), drawn(outputs), activation)


NETWORKS: dict[str, Network] = {
    **{row: Network((made(row),)) for row in ROWS},
    **{f"{row} of both directions": Network((made(row, both=True, padding="zeros"), dense(2 * UNITS))) for row in ROWS},
    "last": Network((made("gru"), made("lstm", inputs=UNITS, returns="last"), dense(UNITS, activation="sigmoid"))),
    "backwards": Network(
        (made("lstm", backwards=True), Reverse(), made("gru", inputs=UNITS, backwards=True, returns="last"))
    ),
    "symbols": Network((Embedding(drawn(9, INPUTS), masks_zero=True), made("lstm", returns="last"))),
    "masked": Network(
        (Masking(0.5), made("lstm"), Activation("relu"), made("gru", inputs=UNITS, both=True, padding="zeros"))
    ),
    "the mean of what is there": Network(
        (Embedding(drawn(9, 3), masks_zero=True), made("gru", inputs=3, both=True, padding="zeros"), Mean())
    ),
    "the maximum": Network((made("gru"), Max(), dense(UNITS))),
    "scaled": Network((Scale(drawn(INPUTS), abs(drawn(INPUTS))), Masking(0.5), made("rnn"), Mean())),
    "normalised": Network(
        (
            BatchNorm(drawn(INPUTS), abs(drawn(INPUTS)), 0.1, bias=drawn(INPUTS)),
            made("gru"),
            LayerNorm(0.1, drawn(UNITS)),
            made("lstm", inputs=UNITS, returns="last"),
            BatchNorm(drawn(UNITS), abs(drawn(UNITS)), 0.01, drawn(UNITS), drawn(UNITS)),
            LayerNorm(1e-5),
        )
    ),
    "merged": Network((made("gru", both=True, merge="sum", padding="zeros"), made("lstm", inputs=UNITS))),
    "a step": Network((Masking(0.5), made("gru"), Step(-2), dense(UNITS))),
    "functions": Network(
        (
            made("rnn"),
            Activation("bounded_relu(0.1,0.2,3.0)"),
            dense(UNITS, activation="leaky_relu(0.1)"),
            Activation("thresholded_relu(0.5)"),
            dense(2, activation="clip(0.0,6.0)"),
            Activation("elu(0.5)"),
            dense(2, activation="gelu"),
        )
    ),
    "reshaped": Network((Reshape((4, INPUTS)), made("lstm"), Reshape((4 * UNITS,)), dense(4 * UNITS))),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_comes_back_bit_for_bit(name: str, suffix: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    path = tmp_path / f"model{suffix}"
    convert.write(network, path, "keras")
    again = convert.read(path)
    assert [type(part) for part in again.parts] == [type(part) for part in network.parts]
    assert again.reads == network.reads
    assert convert.compare(network, again)[0] == 0.0
    for one, other in zip(network.recurrent, again.recurrent, strict=True):
        for setting in ("cell_config", "second", "returns", "backwards", "padding", "merge"):
            assert getattr(one, setting) == getattr(other, setting)
        for mine, theirs in zip(one.directions, other.directions, strict=True):
            assert mine.keys() == theirs.keys()
            assert all(np.array_equal(mine[key], theirs[key]) for key in mine)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("suffix", "layout"), [(".weights.h5", "keras"), (".h5", "keras1")])
def test_bare_weights_come_back(row: str, suffix: str, layout: str, tmp_path: Path) -> None:
    layer = made("lstm" if row == "gru" and layout == "keras1" else row, both=True)
    network = Network((layer, dense(2 * UNITS)))
    path = tmp_path / f"model{suffix}"
    convert.write(network, path, layout)
    again = convert.read(path, gate=layer.cell_config.gate)
    assert again.layout == layout
    assert convert.compare(network, again)[0] == 0.0
    assert len(again.rest) == 2


def test_the_weights_of_keras_1_lie_in_the_order_in_which_it_makes_them(tmp_path: Path) -> None:
    convert.write(Network((made("lstm"),)), tmp_path / "m.h5", "keras1")
    with h5py.File(tmp_path / "m.h5") as file:
        names = [name.decode() for name in file["lstm_1"].attrs["weight_names"]]
    assert names == [f"lstm_1_{kind}_{gate}" for gate in "icfo" for kind in "WUb"]


def test_biases_that_only_one_direction_has_are_zero_in_the_other(tmp_path: Path) -> None:
    layer = made("lstm", both=True, padding="zeros")
    without = {name: one for name, one in layer.directions[1].items() if not name.startswith("b")}
    network = Network((replace(layer, directions=(layer.directions[0], without)),))
    convert.write(network, tmp_path / "m.keras")
    assert convert.compare(network, convert.read(tmp_path / "m.keras"))[0] == 0.0


def with_gate(gate: str, row: str = "lstm") -> Recurrent:
    layer = made(row)
    return replace(layer, cell=replace(layer.cell_config, gate=gate))


@pytest.mark.parametrize("row", ["gru", "gru-before", "lstm"])
@pytest.mark.parametrize(
    ("suffix", "layout", "own", "other"),
    [
        (".keras", "keras", "hard_sigmoid_keras3", "hard_sigmoid_theano"),
        (".h5", "keras", "hard_sigmoid_theano", "hard_sigmoid_keras3"),
    ],
)
def test_hard_gates_of_another_slope_are_converted_by_their_weights(
    row: str, suffix: str, layout: str, own: str, other: str, tmp_path: Path
) -> None:
    path = tmp_path / f"m{suffix}"
    for gate, most in ((own, 0.0), (other, 1e-6)):
        network = Network((with_gate(gate, row),))
        convert.write(network, path, layout)
        again = convert.read(path)
        assert again.recurrent[0].cell_config.gate == own
        assert convert.compare(network, again)[0] <= most


def test_one_hot_symbols_become_an_embedding(tmp_path: Path) -> None:
    network = Network((OneHot(INPUTS), made("gru")))
    convert.write(network, tmp_path / "m.keras")
    symbols = np.random.default_rng(0).integers(0, INPUTS, (5, 2))
    np.testing.assert_array_equal(
        convert.run(convert.read(tmp_path / "m.keras"), symbols), convert.run(network, symbols)
    )


def test_deviations_come_back_to_the_bit(tmp_path: Path) -> None:
    deviation = np.random.default_rng(0).lognormal(sigma=3, size=1000).astype(np.float32)
    network = Network((Scale(deviation, deviation), made("rnn", inputs=len(deviation))))
    for suffix in (".keras", ".h5"):
        convert.write(network, tmp_path / f"m{suffix}", "keras")
        (scale, _) = convert.read(tmp_path / f"m{suffix}").parts
        assert isinstance(scale, Scale)
        np.testing.assert_array_equal(scale.deviation, deviation)
        assert scale.deviation.dtype == np.float32


def changed(row: str, **equations: Any) -> Recurrent:
    layer = made(row)
    return replace(layer, cell=replace(layer.cell_config, **equations))


REFUSED: dict[str, tuple[str, str, Network]] = {
    "in the order in which it made them": (".keras", "keras", Network((made("gru", backwards=True),))),
    "reverses steps only after": (".keras", "keras", Network((made("gru"), Reverse()))),
    "gives zeros at masked steps": (".keras", "keras", Network((Masking(0.0), made("gru", both=True)))),
    "no mask before a Reshape": (".h5", "keras", Network((Masking(0.0), made("gru"), Reshape((4 * UNITS,))))),
    "takes in those that are padding": (".keras", "keras", Network((Masking(0.0), made("gru"), Max()))),
    "no deviation that is so small or so large": (
        ".keras",
        "keras",
        Network((Scale(drawn(INPUTS), np.full(INPUTS, 1e-9, np.float32)), made("gru"))),
    ),
    "one activation for the candidate and the output": (".keras", "keras", Network((changed("lstm", output="relu"),))),
    "the hard_sigmoid of Keras 3 is another one": (
        ".keras",
        "keras",
        Network((made("gru"), dense(UNITS, activation="hard_sigmoid_theano"))),
    ),
    "Keras 3 has no function 'clip\\(-1.0,1.0\\)'": (
        ".keras",
        "keras",
        Network((made("gru"), Activation("clip(-1.0,1.0)"))),
    ),
    "Keras 2 has no function 'log_softmax'": (
        ".h5",
        "keras",
        Network((made("gru"), dense(UNITS, activation="log_softmax"))),
    ),
    "no place for one step": (".weights.h5", "keras", Network((made("gru"), Step(-1)))),
    "no layer of keras computes": (".keras", "keras", Network((changed("lstm", coupled=True),))),
    "no layer of keras1 computes GRU, reset after": (".h5", "keras1", Network((made("gru"),))),
}


UNSAID: dict[str, Network] = {
    "Activation between recurrent layers": Network((made("lstm"), Activation("relu"), made("lstm", inputs=UNITS))),
    "directions whose outputs are merged by sum": Network((made("lstm", both=True, merge="sum"),)),
    "a layer that reads backwards": Network((made("lstm", backwards=True),)),
    "directions of different equations": Network(
        (made("lstm", both=True, second=CellConfig("lstm", activation="relu", output="relu")),)
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNSAID)
def test_what_weights_alone_do_not_say_is_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError) as raised:
        convert.write(UNSAID[what], tmp_path / "m.weights.h5", "keras")
    assert str(raised.value) == (
        "a file that holds weights alone cannot say what this network computes\n"
        "  expected: recurrent layers that follow one another, forwards or in both directions\n"
        f"  got: {what}\n"
        "  do: write .keras, which holds the whole model"
    )
    if UNSAID[what].recurrent[0].second is None:
        with pytest.raises(ConversionError, match=what):
            convert.write(UNSAID[what], tmp_path / "m.h5", "keras1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("gate", "activation", "layout", "name", "said"),
    [
        ("sigmoid", "tanh", "keras1", "m.h5", {"gate": "sigmoid"}),
        ("hard_sigmoid_theano", "relu", "keras1", "m.h5", {"activation": "relu", "output": "relu"}),
        ("hard_sigmoid_keras3", "tanh", "keras1", "m.h5", {}),  # by its weights
        ("sigmoid", "tanh", "keras", "m.weights.h5", {}),
        ("hard_sigmoid_theano", "tanh", "keras", "m.weights.h5", {"gate": "hard_sigmoid_keras3"}),
    ],
)
def test_what_weights_alone_need_to_be_told_is_in_the_report(
    gate: str, activation: str, layout: str, name: str, said: dict[str, str], tmp_path: Path
) -> None:
    network = Network((changed("lstm", gate=gate, activation=activation, output=activation),))
    convert.write(network, tmp_path / "m.safetensors", "gatewright")
    report = convert.convert(tmp_path / "m.safetensors", tmp_path / name, target_layout=layout)
    options = " ".join(f"--{fact} {value}" for fact, value in said.items())
    python = ", ".join(f"{fact}={value!r}" for fact, value in said.items())
    told = f"not in {name}, and to be given when it is read: {options}, or {python} in Python"
    assert [note for note in report.notes if "to be given" in note] == ([told] if said else [])
    assert convert.compare(network, convert.read(tmp_path / name, layout, **said))[0] < 1e-6
    if said:
        with pytest.raises(ConversionError, match="what was written computes something else"):
            convert.compare(network, convert.read(tmp_path / name, layout))


@pytest.mark.parametrize("reason", REFUSED)
def test_what_keras_cannot_compute_is_refused_with_the_reason(reason: str, tmp_path: Path) -> None:
    suffix, layout, network = REFUSED[reason]
    with pytest.raises(ConversionError, match=reason):
        convert.write(network, tmp_path / f"m{suffix}", layout)
    assert not list(tmp_path.iterdir())


def test_a_conversion_from_keras_to_torch_compares_both(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    convert.write(Network((made("gru"), dense(UNITS))), tmp_path / "m.keras")
    report = convert.convert(tmp_path / "m.keras", tmp_path / "m.safetensors", target_layout="torch")
    assert report.differences["both files, read here"] == 0.0
    assert report.differences["m.safetensors, run by PyTorch"] < 1e-5
    assert report.source == "keras"


def test_a_layer_between_recurrent_layers_is_not_dropped(tmp_path: Path) -> None:
    for between in (Activation("relu"), dense(UNITS, UNITS)):
        network = Network((made("gru"), between, made("gru", inputs=UNITS)))
        with pytest.raises(ConversionError, match="a stack of recurrent layers"):
            convert.write(network, tmp_path / "m.safetensors", "torch")


def test_the_equations_of_a_bare_file_are_those_that_were_said(tmp_path: Path) -> None:
    convert.write(Network((changed("gru", activation="relu"),)), tmp_path / "m.weights.h5", "keras")
    found = convert.read(tmp_path / "m.weights.h5", activation="relu").recurrent[0].cell_config
    assert found == CellConfig("gru", reset="after", activation="relu")
