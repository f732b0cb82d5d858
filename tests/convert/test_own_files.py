"""Networks in Gatewright's own files: every part that a network can have comes back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert, export, model_file, stream
from gatewright.backends.c99.layout import StackNames
from gatewright.convert import (
    Activation,
    AddInput,
    BatchNorm,
    CellConfig,
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
)
from gatewright.errors import ConversionError, OptionError
from gatewright.export import c_reading
from gatewright.export.c_check import difference
from gatewright.export.onnx_check import differences
from tests.convert.keras_models import drawn

UNITS = 4


def layer(inputs: int = 3, family: Any = "lstm", *, both: bool = False, seed: int = 0, **settings: Any) -> Recurrent:
    """A layer with random weights."""
    equations = CellConfig(family, reset="after" if family == "gru" else None)
    generator = np.random.default_rng(seed)
    shapes = {"W": (UNITS, inputs), "U": (UNITS, UNITS), "b": (UNITS,)} | ({"bh": (UNITS,)} if family == "gru" else {})
    directions = tuple(
        {
            f"{kind}.{gate}": generator.normal(size=shape).astype(np.float32)
            for kind, shape in shapes.items()
            for gate in equations.gates
            if kind != "bh" or gate == "n"
        }
        for _ in range(1 + both)
    )
    return Recurrent(equations, directions, **settings)


HEAD = Dense(drawn(2, UNITS), drawn(2), "softmax")
NETWORKS: dict[str, Network] = {
    "one layer": Network((layer(),)),
    "a stack that gives its last output": Network((layer(), layer(UNITS, seed=1), layer(UNITS, returns="last"))),
    "both directions": Network((layer(both=True, padding="zeros"), layer(2 * UNITS, both=True))),
    "symbols, padded": Network((Embedding(drawn(9, 3), masks_zero=True), layer(), Mean(), HEAD)),
    "one-hot": Network((OneHot(3), layer(family="gru"), HEAD)),
    "scaled, masked": Network((Scale(drawn(3), abs(drawn(3))), Masking(0.5), layer(), Max(), HEAD)),
    "layers that are apart": Network((layer(), Activation("relu"), layer(UNITS), Dense(drawn(UNITS, UNITS)), HEAD)),
    "normalised": Network(
        (BatchNorm(drawn(3), abs(drawn(3)), 0.1, drawn(3)), layer(), LayerNorm(0.1, bias=drawn(UNITS)), Step(-1))
    ),
    "merged": Network((layer(both=True, merge="sum"), layer(UNITS, both=True, merge="ave", returns="last"))),
    "functions with numbers": Network(
        (layer(), Activation("leaky_relu(0.3)"), Dense(drawn(2, UNITS), None, "elu(2.0)"))
    ),
    "normalised after the last output": Network(
        (
            layer(returns="last"),
            BatchNorm(drawn(UNITS), abs(drawn(UNITS)), 0.1),
            LayerNorm(0.1, drawn(UNITS)),
            Scale(drawn(UNITS), abs(drawn(UNITS))),
            HEAD,
        )
    ),
    "reshaped": Network((Reshape((4, 3)), layer(), Reverse(), layer(UNITS, "gru"), Reshape((-1,)))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_part_comes_back(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    convert.write(network, tmp_path / "m.safetensors", "gatewright")
    again = convert.read(tmp_path / "m.safetensors")
    assert again.layout == "gatewright"
    assert [type(part) for part in again.parts] == [type(part) for part in network.parts]
    for one, other in zip(network.recurrent, again.recurrent, strict=True):
        assert (one.cell_config, one.returns, one.padding, one.merge) == (
            other.cell_config,
            other.returns,
            other.padding,
            other.merge,
        )
    assert convert.compare(network, again)[0] == 0.0


def test_layers_with_something_between_them_are_no_stack(tmp_path: Path) -> None:
    convert.write(NETWORKS["layers that are apart"], tmp_path / "apart.safetensors", "gatewright")
    convert.write(NETWORKS["a stack that gives its last output"], tmp_path / "stack.safetensors", "gatewright")
    apart, stack = (model_file.load(tmp_path / f"{name}.safetensors").layers for name in ("apart", "stack"))
    assert [(one.name, one.num_layers) for one in apart] == [("recurrent", 1), ("recurrent1", 1)]
    assert [(one.name, one.num_layers) for one in stack] == [("recurrent", 3)]


def test_a_stack_streams(tmp_path: Path) -> None:
    network = NETWORKS["a stack that gives its last output"]
    convert.write(network, tmp_path / "m.safetensors", "gatewright")
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    running = stream.open(tmp_path / "m.safetensors", batch=2)
    outputs = [running.step(one) for one in x]
    np.testing.assert_allclose(outputs[-1], convert.run(network, x), atol=1e-6)


ALONE = "computes more than its recurrent layer"
ELSEWHERE: dict[str, tuple[Network, str]] = {
    "symbols": (NETWORKS["symbols, padded"], "Embedding, Mean, Dense (softmax)"),
    "a function after it": (Network((layer(), Activation("relu"))), "Activation (relu)"),
    "its input turned round": (Network((Reverse(), layer())), "Reverse"),
    "its input added": (Network((layer(3), AddInput(1))), "AddInput"),
    "the greatest": (Network((layer(), Max())), "Max"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_stream_refuses_parts_that_it_would_not_run(name: str, tmp_path: Path) -> None:
    network, parts = ELSEWHERE[name]
    convert.write(network, tmp_path / "m.safetensors", "gatewright")
    with pytest.raises(OptionError, match=ALONE) as raised:
        stream.open(tmp_path / "m.safetensors")
    assert raised.value.got == parts
    running = stream.open(tmp_path / "m.safetensors", name="recurrent")
    assert running.output_size == network.recurrent[0].hidden
    export.onnx(tmp_path / "m.safetensors", tmp_path / "m.onnx", name="recurrent")


MASKED = ("symbols, padded", "scaled, masked")
SHAPED = ("reshaped",)  # a shape of two sizes
WHOLE: dict[str, Network] = {
    **{name: network for name, network in NETWORKS.items() if name not in (*MASKED, *SHAPED)},
    "its input turned round": Network((Reverse(), layer())),
    "its input added": Network((layer(3), AddInput(1))),
    "the greatest": Network((layer(), Max())),
    "the mean": Network((layer(both=True), Mean(), Dense(drawn(2, 2 * UNITS), drawn(2), "tanh"))),
}


@pytest.mark.parametrize("lengths", [None, (5, 2)])
@pytest.mark.parametrize("name", WHOLE)
def test_a_converted_network_is_exported_as_a_whole(name: str, lengths: Any, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network, path = WHOLE[name], tmp_path / "m.safetensors"
    convert.write(network, path, "gatewright")
    written = export.onnx(path, tmp_path / "m.onnx", lengths=lengths is not None)
    generator = np.random.default_rng(0)
    x = generator.integers(0, 3, (5, 2)) if name == "one-hot" else generator.normal(size=(5, 2, 3)).astype(np.float32)
    given = {"input": x} | ({} if lengths is None else {"lengths": np.array(lengths)})
    got = onnxruntime.InferenceSession(written.path).run(["output"], given)[0]
    np.testing.assert_allclose(got, convert.run(network, x, lengths=lengths), atol=2e-6)
    assert all(one.fits for one in differences(path, written.path))


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_is_not_exported(name: str, tmp_path: Path) -> None:
    convert.write(NETWORKS[name], tmp_path / "m.safetensors", "gatewright")
    with pytest.raises(OptionError, match="ONNX's operators know no mask"):
        export.onnx(tmp_path / "m.safetensors", tmp_path / "m.onnx")


INTO_C: dict[str, Network] = {
    "a function after it": Network((layer(), Activation("relu"))),
    "a stack and a head": Network((layer(), layer(UNITS, seed=1), Dense(drawn(2, UNITS), drawn(2), "sigmoid"))),
    "scaled, the last output": Network((Scale(drawn(3), abs(drawn(3))), layer(returns="last"), Dense(drawn(2, UNITS)))),
    "the mean": Network((layer(), Mean(), Dense(drawn(2, UNITS), drawn(2)))),
    "an inner width above the output's": Network((layer(), Dense(drawn(7, UNITS)), Dense(drawn(2, 7), drawn(2)))),
    "an inner width below the output's": Network((Dense(drawn(2, 3)), layer(2), Dense(drawn(5, UNITS)))),
}


@pytest.mark.parametrize("name", INTO_C)
def test_a_converted_network_is_written_as_c(name: str, tmp_path: Path) -> None:
    network = INTO_C[name]
    convert.write(network, tmp_path / "m.safetensors", "gatewright")
    written = export.c99(tmp_path / "m.safetensors", tmp_path / "m.c")
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    got = c_reading.run(written.stack, x)[-1]
    want = convert.run(network, x)
    np.testing.assert_allclose(got, want if want.ndim == 2 else want[-1], atol=1e-12)
    names = StackNames(written.stack)
    for part in written.stack.parts:  # what the arrays are declared with
        declared = {axis: names.sizes[size] for axis, size in names.bounds[part.name].items()}
        assert declared == {axis: part.sizes[axis] for axis in declared}
    found = difference(written.stack, written.source)
    assert found is None or found.fits


@pytest.mark.parametrize("name", ["its input turned round", "its input added", "symbols", "the last of a softmax"])
def test_a_part_that_is_no_step_is_not_written_as_c(name: str, tmp_path: Path) -> None:
    softmax = Network((layer(), Dense(drawn(2, UNITS), None, "softmax")))
    network, _ = ELSEWHERE.get(name, (softmax, ""))
    convert.write(network, tmp_path / "m.safetensors", "gatewright")
    with pytest.raises(OptionError, match="kind (Reverse|AddInput|Embedding) is not written|no function 'softmax'"):
        export.c99(tmp_path / "m.safetensors", tmp_path / "m.c")


def test_merged_directions_are_exported_merged(tmp_path: Path) -> None:
    convert.write(Network((layer(both=True, merge="ave"),)), tmp_path / "m.safetensors", "gatewright")
    for name in (None, "recurrent"):
        written = export.onnx(tmp_path / "m.safetensors", tmp_path / "m.onnx", name=name)
        assert written.outputs["output"] == f"the first state of every step (time, batch, {UNITS})"
        assert all(one.fits for one in differences(tmp_path / "m.safetensors", written.path, name=name))


def test_what_lies_between_layers_of_a_stream_is_refused(tmp_path: Path) -> None:
    convert.write(NETWORKS["layers that are apart"], tmp_path / "m.safetensors", "gatewright")
    with pytest.raises(OptionError) as raised:
        stream.open(tmp_path / "m.safetensors", name=("recurrent", "recurrent1"))
    assert str(raised.value) == (
        "between the layers 'recurrent', 'recurrent1' the converted model computes something else\n"
        "  expected: recurrent layers that feed one another, and nothing else\n"
        "  got: Activation (relu)\n"
        "  do: open a stream for each layer; gw.convert.run(gw.convert.read(path), inputs) runs the whole"
    )


def test_a_layer_that_reads_backwards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="layers that read forwards, or in both directions"):
        convert.write(Network((layer(backwards=True),)), tmp_path / "m.safetensors", "gatewright")
    assert not list(tmp_path.iterdir())


def test_layers_of_two_precisions_are_held_to_the_coarser(tmp_path: Path) -> None:
    single = layer(family="gru")  # whose biases are added up in float32
    (wide,) = Network((layer(UNITS),)).of_type("float64").recurrent
    single = replace(single, directions=({**single.directions[0], "bh.r": drawn(UNITS), "bh.z": drawn(UNITS)},))
    convert.write(Network((single, wide)), tmp_path / "m.safetensors", "gatewright")
    difference, _ = convert.compare(Network((single, wide)), convert.read(tmp_path / "m.safetensors"))
    assert 1e-12 < difference < 1e-6


def _put(listed: list[dict[str, Any]], index: int, /, **said: Any) -> list[dict[str, Any]]:
    return [{**one, **said} if place == index else one for place, one in enumerate(listed)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda listed: "all", "parts are no list of settings"),
        (lambda listed: [*listed, 5], "parts are no list of settings"),
        (lambda listed: listed[:1], "leave out layers"),
        (lambda listed: _put(listed, 0, part="Wavelet"), "part0 is no part of a network"),
        (lambda listed: _put(listed, 0, part="Dense"), "part 1, Recurrent, does not fit"),
        (lambda listed: _put(listed, 0, masks_zero=3), "masks_zero of a Embedding cannot be 3"),
        (lambda listed: _put(listed, 1, level=[1]), "part1 is none of the file's layers"),
        (lambda listed: _put(listed, 1, returns="first"), "part1 is none of the file's layers"),
        (lambda listed: _put(listed, 1, merge="both"), "part1 is none of the file's layers"),
        (lambda listed: _put(listed, 2, part="Step", index=0.5), "index of a Step cannot be 0.5"),
        (lambda listed: _put(listed, 2, part="LayerNorm", epsilon=-1), "epsilon of a LayerNorm cannot be -1"),
        (
            lambda listed: _put(listed, 2, part="Activation", function="leaky_relu"),
            "function of a Activation cannot be",
        ),
        (lambda listed: _put(listed, 2, part="Reshape", shape=[0, 2]), "shape of a Reshape cannot be"),
        (lambda listed: _put(listed, 2, part="Masking"), "lacks something"),
        (lambda listed: _put(listed, 2, part="Recurrent", layer="recurrent", level=0), "is none of the file's layers"),
        (lambda listed: [listed[1], listed[0], *listed[2:]], "part1.weight|does not fit|lacks something"),
        (lambda listed: [*listed, {"part": "Max"}], "part 4, Max, does not fit what it reads"),
    ],
)
def test_parts_that_make_no_network_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    convert.write(NETWORKS["symbols, padded"], path, "gatewright")
    kept = model_file.load(path)
    settings = {**kept.settings, "parts": change(kept.settings["parts"])}
    model_file.save(path, replace(kept, settings=settings))
    with pytest.raises(ConversionError, match=message) as raised:
        convert.read(path)
    assert str(path) in str(raised.value)


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    for part in (Dense(drawn(2, UNITS), drawn(3)), Scale(drawn(UNITS), np.zeros(UNITS, np.float32))):
        convert.write(Network((layer(), part)), tmp_path / "m.safetensors", "gatewright")
        with pytest.raises(ConversionError, match="does not fit what it reads"):
            convert.read(tmp_path / "m.safetensors")


REWRITE = "\n  do: write the file again with this version; it was damaged, or changed by other means"
LAYER = "the file's equations of layer 'recurrent' "
FUNCTION = "the name of a function, such as sigmoid"
CHOICES = (
    "family, reset, gate, activation, output, peepholes, coupled, projection, forget_bias, cell_clip, proj_clip, clip"
)
ODD_EQUATIONS: dict[str, tuple[str, Any, str]] = {
    "no gate": ("gate", None, FUNCTION),
    "a number for a function": ("output", 3, FUNCTION),
    "no family": ("family", "gre", "rnn, gru, lstm"),
    "a list": ("family", ["gru"], "rnn, gru, lstm"),
    "a number for a word": ("reset", 1, '"before", "after" or null'),
    "a reset of a GRU": ("reset", None, '"before" or "after" of a GRU, null of every other family'),
    "a reset of an RNN": ("family", "rnn", '"before" or "after" of a GRU, null of every other family'),
    "a number that is none": ("clip", 1e300, "a finite number"),
    "a text for a number": ("forget_bias", "1", "a finite number"),
    "a number for yes": ("peepholes", 1, "true or false"),
    "what there is not": ("zoneout", 0.1, CHOICES),
}


def rewritten(path: Path, equations: Any) -> Path:
    """The file with other equations, which a checksum does not tell from what was meant."""
    model = model_file.load(path)
    model_file.save(path, replace(model, settings={**model.settings, "equations": equations}))
    return path


@pytest.mark.parametrize("name", ODD_EQUATIONS)
def test_equations_that_cannot_be_chosen_are_refused(name: str, tmp_path: Path) -> None:
    choice, value, expected = ODD_EQUATIONS[name]
    convert.write(Network((layer(family="gru"),)), tmp_path / "m.safetensors", "gatewright")
    kept = model_file.load(tmp_path / "m.safetensors").settings["equations"]["recurrent"]
    path = rewritten(tmp_path / "m.safetensors", {"recurrent": {**kept, choice: value}})
    with pytest.raises(ConversionError) as raised:
        convert.read(path)
    wrong, got = ("reset", kept["reset"]) if value == "rnn" else (choice, value)
    assert str(raised.value) == (
        f"{path}: {LAYER}cannot have this {wrong}\n  expected: {expected}\n  got: {got!r}{REWRITE}"
    )


@pytest.mark.parametrize("equations", [["gru"], "gru", {"recurrent": ["gru"]}, {"recurrent": 3}])
def test_equations_that_are_no_settings_are_refused(equations: Any, tmp_path: Path) -> None:
    convert.write(Network((layer(family="gru"),)), tmp_path / "m.safetensors", "gatewright")
    path = rewritten(tmp_path / "m.safetensors", equations)
    said = equations["recurrent"] if isinstance(equations, dict) else equations
    with pytest.raises(ConversionError) as raised:
        convert.read(path)
    assert str(raised.value) == (
        f"{path}: {LAYER}are no settings\n  expected: the choices by name, among them family\n  got: {said!r}{REWRITE}"
    )


def test_a_file_without_equations_is_read_by_its_trace(tmp_path: Path) -> None:
    network = Network((layer(family="gru"),))
    convert.write(network, tmp_path / "m.safetensors", "gatewright")
    for equations in (None, {}):
        path = rewritten(tmp_path / "m.safetensors", equations)
        assert convert.read(path).recurrent[0].cell_config == network.recurrent[0].cell_config
