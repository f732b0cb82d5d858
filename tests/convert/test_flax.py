"""Flax's layers, Linen and NNX: their parameters by the names of their paths, held to Flax itself, both ways."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import files
from gatewright.errors import ConversionError

jax = pytest.importorskip("jax", reason="needs JAX")
pytest.importorskip("flax", reason="needs Flax")

import flax.linen as nn  # noqa: E402
from flax import nnx  # noqa: E402
from flax.traverse_util import flatten_dict, unflatten_dict  # noqa: E402

ROUNDING = 2e-6  # JAX computes in float32
INPUTS = np.random.default_rng(0).standard_normal((7, 2, 3)).astype(np.float32)  # (time, batch, features)
Arrays = dict[str, np.ndarray]

LINEN: dict[str, Callable[[], Any]] = {
    "rnn": lambda: nn.RNN(nn.SimpleCell(5)),
    "gru": lambda: nn.RNN(nn.GRUCell(5)),
    "lstm": lambda: nn.RNN(nn.LSTMCell(5)),
    "optimized lstm": lambda: nn.RNN(nn.OptimizedLSTMCell(5)),
    "both directions": lambda: nn.Bidirectional(nn.RNN(nn.GRUCell(5)), nn.RNN(nn.GRUCell(5))),
    "two layers": lambda: nn.Sequential([nn.RNN(nn.GRUCell(5)), nn.RNN(nn.LSTMCell(4))]),
    "two layers, both directions": lambda: nn.Sequential(
        [nn.Bidirectional(nn.RNN(nn.LSTMCell(5)), nn.RNN(nn.LSTMCell(5))) for _ in range(2)]
    ),
    "both directions, then one": lambda: nn.Sequential(
        [nn.Bidirectional(nn.RNN(nn.GRUCell(5)), nn.RNN(nn.GRUCell(5))), nn.RNN(nn.GRUCell(5))]
    ),
}


def nnx_rnn(cell: Any, inputs: int = 3, hidden: int = 5, **options: Any) -> Any:
    return nnx.RNN(cell(inputs, hidden, rngs=nnx.Rngs(1), **options), rngs=nnx.Rngs(2))


NNX: dict[str, Callable[[], Any]] = {
    "rnn": lambda: nnx_rnn(nnx.SimpleCell),
    "gru": lambda: nnx_rnn(nnx.GRUCell),
    "lstm": lambda: nnx_rnn(nnx.LSTMCell),
    "optimized lstm": lambda: nnx_rnn(nnx.OptimizedLSTMCell),
    "both directions": lambda: nnx.Bidirectional(nnx_rnn(nnx.GRUCell), nnx_rnn(nnx.GRUCell), rngs=nnx.Rngs(3)),
    "two layers": lambda: nnx.Sequential(nnx_rnn(nnx.GRUCell), nnx_rnn(nnx.LSTMCell, 5, 4)),
}


def shuffled(arrays: Arrays) -> Arrays:
    """Random numbers of the same shapes: a bias of zeros would hide where it goes."""
    rng = np.random.default_rng(4)
    return {name: (rng.standard_normal(array.shape) / 2).astype(np.float32) for name, array in arrays.items()}


def linen(model: Any, params: Arrays | None = None) -> tuple[Arrays, np.ndarray]:
    """Parameters by path, those given or random ones, and the outputs with them: (time, batch, features)."""
    inputs = INPUTS.swapaxes(0, 1)
    own = flatten_dict(model.init(jax.random.key(0), inputs), sep="/")
    params = params or shuffled({name: np.asarray(array) for name, array in own.items()})
    assert params.keys() == own.keys()
    return params, np.asarray(model.apply(unflatten_dict(params, sep="/"), inputs)).swapaxes(0, 1)


def of_nnx(model: Any, params: Arrays | None = None) -> tuple[Arrays, np.ndarray]:
    state = nnx.state(model, nnx.Param)
    own = {"/".join(map(str, path)): param for path, param in nnx.to_flat_state(state)}
    params = params or shuffled({name: np.asarray(param.get_value()) for name, param in own.items()})
    assert params.keys() == own.keys()
    for name, param in own.items():
        param.set_value(jax.numpy.asarray(params[name]))
    nnx.update(model, state)
    return params, np.asarray(model(INPUTS.swapaxes(0, 1))).swapaxes(0, 1)


CASES = [("flax", linen, LINEN, name) for name in LINEN] + [("nnx", of_nnx, NNX, name) for name in NNX]


@pytest.mark.parametrize(("layout", "run", "models", "name"), CASES, ids=[f"{c[0]}-{c[3]}" for c in CASES])
def test_both_ways(layout: str, run: Any, models: dict[str, Any], name: str, tmp_path: Path) -> None:
    params, outputs = run(models[name]())
    np.savez(tmp_path / "theirs.npz", **params)
    network = convert.read(tmp_path / "theirs.npz", layout)
    np.testing.assert_allclose(convert.run(network, INPUTS), outputs, atol=ROUNDING, rtol=0)
    assert not network.rest
    convert.convert(tmp_path / "theirs.npz", tmp_path / "again.npz", source_layout=layout, target_layout=layout)
    again = files.read_arrays(tmp_path / "again.npz")
    if "optimized" not in name or layout == "flax":
        assert again.keys() == params.keys()
        assert all(np.array_equal(again[one], params[one]) for one in params)
    else:  # the two LSTMs of NNX compute the same, and the first is written
        np.testing.assert_allclose(run(models["lstm"](), again)[1], outputs, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(("layout", "run", "models"), [("flax", linen, LINEN), ("nnx", of_nnx, NNX)])
@pytest.mark.parametrize("name", ["gru", "lstm", "rnn"])
def test_weights_of_another_framework(layout: str, run: Any, models: Any, name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = 5 * {"rnn": 1, "gru": 3, "lstm": 4}[name]
    shapes = {"i2h_weight": (rows, 3), "h2h_weight": (rows, 5), "i2h_bias": rows, "h2h_bias": rows}
    arrays = {f"l0_{array}": rng.normal(size=shape).astype(np.float32) for array, shape in shapes.items()}
    if (layout, name) == ("nnx", "gru"):
        np.savez(tmp_path / "gluon.npz", **arrays)
        with pytest.raises(ConversionError, match=r"no bias of the candidate inside of the reset .* is not zero"):
            convert.convert(tmp_path / "gluon.npz", tmp_path / "theirs.npz", target_layout=layout)
        arrays["l0_h2h_bias"][10:] = 0
    np.savez(tmp_path / "gluon.npz", **arrays)
    facts = {"activation": "tanh"} if name == "rnn" else {}
    convert.convert(tmp_path / "gluon.npz", tmp_path / "theirs.npz", target_layout=layout, overrides=facts)
    _, outputs = run(models[name](), files.read_arrays(tmp_path / "theirs.npz"))
    wanted = convert.run(convert.read(tmp_path / "gluon.npz", "gluon", **facts), INPUTS)
    np.testing.assert_allclose(outputs, wanted, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(
    ("activation", "functions"),
    [("relu", (jax.nn.relu, jax.nn.sigmoid)), ("softsign", (jax.nn.soft_sign, jax.nn.hard_sigmoid))],
)
@pytest.mark.parametrize("cell", [nn.GRUCell, nn.OptimizedLSTMCell])
def test_other_activations(cell: Any, activation: str, functions: tuple[Any, Any], tmp_path: Path) -> None:
    params, outputs = linen(nn.RNN(cell(5, activation_fn=functions[0], gate_fn=functions[1])))
    np.savez(tmp_path / "theirs.npz", **params)
    gate = "hard_sigmoid_keras3" if functions[1] is jax.nn.hard_sigmoid else "sigmoid"
    network = convert.read(tmp_path / "theirs.npz", "flax", activation=activation, gate=gate)
    np.testing.assert_allclose(convert.run(network, INPUTS), outputs, atol=ROUNDING, rtol=ROUNDING)


SPELLINGS: dict[str, Callable[[tuple[str, ...]], str]] = {
    "without params": lambda path: "/".join(path[1:]),
    "dots": ".".join,
    "what jax calls it": lambda path: "".join(f"['{step}']" for step in path),
    "orbax": lambda path: ".".join((*path, "value")),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_paths_that_are_written_otherwise(spelling: str, tmp_path: Path) -> None:
    params, outputs = linen(LINEN["both directions"]())
    np.savez(
        tmp_path / "theirs.npz", **{SPELLINGS[spelling](tuple(name.split("/"))): one for name, one in params.items()}
    )
    network = convert.read(tmp_path / "theirs.npz")
    assert network.layout == "flax"
    np.testing.assert_allclose(convert.run(network, INPUTS), outputs, atol=ROUNDING, rtol=0)


class Compact(nn.Module):
    """Layers that Flax numbers by their class."""

    cells: tuple[Any, ...]

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for cell in self.cells:
            x = nn.RNN(cell(5))(x)
        return x


def test_layers_numbered_by_their_class(tmp_path: Path) -> None:
    params, outputs = linen(Compact((nn.GRUCell, nn.GRUCell)))
    np.savez(tmp_path / "theirs.npz", **params)
    network = convert.read(tmp_path / "theirs.npz", "flax")
    np.testing.assert_allclose(convert.run(network, INPUTS), outputs, atol=ROUNDING, rtol=0)


def test_classes_that_take_turns_have_no_order(tmp_path: Path) -> None:
    params, outputs = linen(Compact((nn.GRUCell, nn.LSTMCell, nn.GRUCell)))
    np.savez(tmp_path / "theirs.npz", **params)
    with pytest.raises(ConversionError, match="do not tell in which order"):
        convert.read(tmp_path / "theirs.npz", "flax")
    order = ("params/GRUCell_0", "params/LSTMCell_0", "params/GRUCell_1")
    network = convert.read(tmp_path / "theirs.npz", "flax", prefix=order)
    np.testing.assert_allclose(convert.run(network, INPUTS), outputs, atol=ROUNDING, rtol=0)


def test_one_direction_of_two_is_refused(tmp_path: Path) -> None:
    params, _ = linen(LINEN["both directions"]())
    np.savez(tmp_path / "theirs.npz", **{name: one for name, one in params.items() if "forward" in name})
    with pytest.raises(ConversionError, match="by its name it is one of two"):
        convert.read(tmp_path / "theirs.npz", "flax")
