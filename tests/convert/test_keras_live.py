"""Keras itself, with random weights, both ways; skipped where it is not installed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.errors import ConversionError

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
layers = keras.layers

STEPS, FEATURES, SYMBOLS = 6, 3, 9
KINDS = {"rnn": layers.SimpleRNN, "gru": layers.GRU, "lstm": layers.LSTM}


def chain(*listed: Any) -> Any:
    return keras.Sequential([layers.Input((STEPS, FEATURES)), *listed])


def symbols(*listed: Any) -> Any:
    return keras.Sequential([layers.Input((STEPS,)), layers.Embedding(SYMBOLS, 3, mask_zero=True), *listed])


def functional(kind: Any) -> Any:
    inputs = layers.Input((STEPS, FEATURES))
    outputs = layers.Dense(2)(kind(4)(kind(5, return_sequences=True)(layers.Masking(0.5)(inputs))))
    return keras.Model(inputs, outputs)


def functionally(make: Callable[[Any], Any]) -> Any:
    inputs = layers.Input((STEPS, FEATURES))
    return keras.Model(inputs, make(inputs))


MODELS: dict[str, Callable[[Any], Any]] = {
    "sequence": lambda kind: chain(kind(5, return_sequences=True)),
    "last without biases": lambda kind: chain(kind(5, use_bias=False)),
    "relu": lambda kind: chain(kind(5, activation="relu", return_sequences=True)),
    "both": lambda kind: chain(layers.Bidirectional(kind(5, return_sequences=True)), layers.Dense(2, "softmax")),
    "both, last": lambda kind: chain(layers.Bidirectional(kind(5))),
    "backwards": lambda kind: chain(kind(5, return_sequences=True, go_backwards=True), kind(4, go_backwards=True)),
    "masked": lambda kind: chain(layers.Masking(0.5), kind(5, return_sequences=True), kind(3, return_sequences=True)),
    "masked, zeros": lambda kind: chain(
        layers.Masking(0.5), kind(5, return_sequences=True, zero_output_for_mask=True)
    ),
    "masked, backwards": lambda kind: chain(layers.Masking(0.5), kind(5, go_backwards=True)),
    "masked, both": lambda kind: chain(
        layers.Masking(0.5),
        layers.Bidirectional(kind(5, return_sequences=True)),
        layers.Bidirectional(kind(5)),
    ),
    "symbols": lambda kind: symbols(kind(5, return_sequences=True), layers.Dropout(0.5), kind(4), layers.Dense(2)),
    "mean": lambda kind: symbols(kind(5, return_sequences=True), layers.GlobalAveragePooling1D(), layers.Dense(2)),
    "maximum": lambda kind: chain(kind(5, return_sequences=True), layers.GlobalMaxPooling1D()),
    "scaled": lambda kind: chain(
        layers.Normalization(mean=[0.5, -1.0, 2.0], variance=[0.3, 2.0, 1e-20]), kind(5, return_sequences=True)
    ),
    "scaled by data": lambda kind: chain(layers.Normalization(), kind(5)),
    "functional": functional,
}  # fmt: skip


OTHERS: dict[str, Callable[[], Any]] = {
    "a state": lambda: functionally(
        lambda i: layers.Dense(2)(layers.LSTM(4, return_state=True, return_sequences=True)(i)[1])
    ),
    "a state of two directions": lambda: functionally(
        lambda i: layers.Bidirectional(layers.LSTM(4, return_state=True))(i)[3]
    ),
    "one step": lambda: functionally(lambda i: layers.Dense(2)(layers.GRU(4, return_sequences=True)(i)[:, -1])),
    "a model in a model": lambda: chain(
        keras.Sequential(
            [layers.Input((STEPS, FEATURES)), layers.GRU(4, return_sequences=True), layers.BatchNormalization()]
        ),
        layers.GRU(3),
    ),
    "a cell": lambda: functionally(
        lambda i: layers.Bidirectional(layers.RNN(layers.SimpleRNNCell(4), return_sequences=True), merge_mode="ave")(
            layers.Masking(0.5)(i)
        )
    ),
    "cells": lambda: functionally(
        lambda i: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)])(layers.Masking(0.5)(i))
    ),
    "normalised": lambda: functionally(
        lambda i: layers.LayerNormalization(scale=False)(
            layers.GRU(4)(layers.LayerNormalization()(layers.GRU(3, return_sequences=True)(layers.Masking(0.5)(i))))
        )
    ),
    "normalised by batch": lambda: chain(
        layers.BatchNormalization(), layers.LSTM(4), layers.BatchNormalization(center=False, epsilon=0.1)
    ),
    "functions": lambda: chain(
        layers.SimpleRNN(4, return_sequences=True),
        layers.ReLU(0.4, 0.1, 0.05),
        layers.LeakyReLU(),
        layers.ELU(0.3),
        layers.ReLU(6.0),
        layers.ReLU(threshold=0.1),
        layers.Dense(3, layers.LeakyReLU(0.2)),
        layers.Activation("gelu"),
        layers.Softmax(),
    ),
    "merged": lambda: chain(
        layers.Masking(0.5),
        layers.Bidirectional(layers.GRU(5, return_sequences=True), merge_mode="sum"),
        layers.Bidirectional(layers.GRU(5), merge_mode="mul"),
    ),
    "directions of two functions": lambda: chain(
        layers.Bidirectional(layers.LSTM(4), backward_layer=layers.LSTM(4, activation="relu", go_backwards=True))
    ),
}


def random_model(make: Callable[..., Any], *kind: Any) -> Any:
    model = make(*kind)
    generator = np.random.default_rng(3)
    for weight in model.weights:
        if "int" not in str(weight.dtype):
            drawn = 0.7 * generator.standard_normal(weight.shape)
            weight.assign(np.abs(drawn) if "variance" in weight.path else drawn)
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.adapt(generator.standard_normal((20, STEPS, FEATURES))) if layer.input_mean is None else None
    return model


def random_inputs(model: Any) -> np.ndarray:
    """Rows with padding at the end, in the middle and at the beginning."""
    generator = np.random.default_rng(4)
    if len(model.input_shape) == 2:
        return generator.integers(0, SYMBOLS, (4, STEPS))
    inputs = generator.standard_normal((4, STEPS, FEATURES))
    inputs[0, 4:] = inputs[1, 2] = inputs[2, :2] = 0.5
    return inputs


def predicted(model: Any, inputs: np.ndarray) -> np.ndarray:
    outputs = keras.ops.convert_to_numpy(model(inputs, training=False))
    return outputs.swapaxes(0, 1) if outputs.ndim == 3 else outputs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_keras_and_gatewright_compute_the_same_both_ways(name: str, kind: str, tmp_path: Path) -> None:
    model = random_model(MODELS[name], KINDS[kind])
    inputs = random_inputs(model)
    wanted = predicted(model, inputs)
    for suffix in (".keras", ".h5")[: 1 if name == "functional" else 2]:  # Keras 3 cannot open its own .h5 with a mask
        model.save(tmp_path / f"theirs{suffix}")
        network = convert.read(tmp_path / f"theirs{suffix}")
        np.testing.assert_allclose(convert.run(network, inputs.swapaxes(0, 1)), wanted, rtol=1e-5, atol=1e-5)
        for target in (".keras", ".h5"):
            convert.write(network, tmp_path / f"ours{target}", "keras")
            got = convert.FORMATS["keras"].run(tmp_path / f"ours{target}", inputs.swapaxes(0, 1))
            np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OTHERS)
def test_what_else_a_model_may_have(name: str, tmp_path: Path) -> None:
    model = random_model(OTHERS[name])
    inputs = random_inputs(model)
    wanted = predicted(model, inputs)
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"theirs{suffix}")
        network = convert.read(tmp_path / f"theirs{suffix}")
        np.testing.assert_allclose(convert.run(network, inputs.swapaxes(0, 1)), wanted, rtol=1e-5, atol=1e-5)
    convert.write(network, tmp_path / "ours.keras")
    got = convert.FORMATS["keras"].run(tmp_path / "ours.keras", inputs.swapaxes(0, 1))
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    convert.write(network, tmp_path / "ours.h5", "keras")
    assert convert.compare(network, convert.read(tmp_path / "ours.h5", "keras"))[0] == 0.0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_model_of_mixed_precision_is_proved_in_the_precision_of_its_weights(policy: str, tmp_path: Path) -> None:
    model = random_model(lambda: chain(layers.Masking(0.5), layers.GRU(4, dtype=policy), layers.Dense(2, dtype=policy)))
    model.save(tmp_path / "m.keras")
    report = convert.convert(tmp_path / "m.keras", tmp_path / "again.keras")
    assert report.differences.keys() == {
        "both files, read here", "m.keras, run by Keras", "again.keras, run by Keras"
    }  # fmt: skip
    assert max(report.differences.values()) < 1e-6
    assert report.notes == (
        f"the model computes in {policy}; its weights are float32, and the conversion computes with them as they are",
    )


@pytest.mark.filterwarnings("ignore")
def test_a_model_of_fixed_sizes_is_proved_with_those(tmp_path: Path) -> None:
    inputs = layers.Input((STEPS, FEATURES), batch_size=2)
    random_model(lambda: keras.Model(inputs, layers.LSTM(4, stateful=True)(inputs))).save(tmp_path / "m.keras")
    report = convert.convert(tmp_path / "m.keras", tmp_path / "m.safetensors", target_layout="gatewright")
    assert report.differences["m.keras, run by Keras"] < 1e-6


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_keras_loads_bare_weights(kind: str, tmp_path: Path) -> None:
    model = random_model(MODELS["both"], KINDS[kind])
    wanted = predicted(model, random_inputs(model))
    model.save(tmp_path / "theirs.keras")
    convert.write(convert.read(tmp_path / "theirs.keras"), tmp_path / "ours.weights.h5", "keras")
    for weight in model.weights:
        weight.assign(0 * weight)
    model.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(predicted(model, random_inputs(model)), wanted)
    model.save_weights(tmp_path / "theirs.weights.h5")
    bare = convert.read(tmp_path / "theirs.weights.h5")
    assert convert.compare(bare, convert.read(tmp_path / "theirs.keras"))[0] == 0.0


@pytest.mark.filterwarnings("ignore")
def test_a_mask_of_the_users_own_is_refused(tmp_path: Path) -> None:
    inputs = layers.Input((STEPS, FEATURES))
    mask = keras.ops.any(keras.ops.not_equal(inputs, 0.25), -1)
    keras.Model(inputs, layers.LSTM(4)(inputs, mask=mask)).save(tmp_path / "m.keras")
    with pytest.raises(ConversionError, match="is not the one that its layers make"):
        convert.read(tmp_path / "m.keras")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{"recurrent_activation": "hard_sigmoid"}, {"reset_after": False}], ids=str)
def test_the_variants_of_a_gru(options: dict[str, Any], tmp_path: Path) -> None:
    model = random_model(lambda kind: chain(kind(5, **options)), layers.GRU)
    model.save(tmp_path / "m.keras")
    inputs = random_inputs(model)
    got = convert.run(convert.read(tmp_path / "m.keras"), inputs.swapaxes(0, 1))
    np.testing.assert_allclose(got, predicted(model, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_file_that_this_keras_would_compute_otherwise_is_not_run(tmp_path: Path) -> None:
    model = random_model(lambda kind: chain(kind(5, recurrent_activation="hard_sigmoid")), layers.GRU)
    model.save(tmp_path / "m.keras")
    convert.write(convert.read(tmp_path / "m.keras"), tmp_path / "m.h5", "keras")
    with pytest.raises(ImportError, match="the hard_sigmoid of Keras 2"):
        convert.FORMATS["keras"].run(tmp_path / "m.h5", random_inputs(model).swapaxes(0, 1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [None, STEPS])
@pytest.mark.parametrize(
    "before", [[layers.Masking(0.5)], [layers.ReLU()], [layers.LSTM(4, return_sequences=True)], []]
)
def test_a_reshape_into_other_steps_is_proved_with_steps_that_fit(
    steps: int | None, before: list[Any], tmp_path: Path
) -> None:
    model = keras.Sequential([layers.Input((steps, 4)), *before, layers.Reshape((-1, 8)), layers.GRU(3)])
    model.save(tmp_path / "theirs.keras")
    report = convert.convert(tmp_path / "theirs.keras", tmp_path / "ours.keras")
    assert [*report.differences] == ["both files, read here", "theirs.keras, run by Keras", "ours.keras, run by Keras"]
    convert.convert(tmp_path / "theirs.keras", tmp_path / "own.safetensors", target_layout="gatewright")
    convert.convert(
        tmp_path / "own.safetensors",
        tmp_path / "again.safetensors",
        source_layout="gatewright",
        target_layout="gatewright",
    )
    if before and isinstance(before[0], layers.Masking):
        with pytest.raises(ConversionError, match="Keras is told how many features a Masking layer reads"):
            convert.convert(tmp_path / "own.safetensors", tmp_path / "again.keras", source_layout="gatewright")
