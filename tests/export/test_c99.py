"""Models as C files: whole recipes' models and layers, their accuracy, and what is refused."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.export.c_check import main_program
from gatewright.export.network import read_network
from gatewright.export.sources import as_model_file
from gatewright.network import Network
from gatewright.network.network import outcome as network_run
from gatewright.tasks import recipes
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.model import Model
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.training.session import train
from tests.backends.c99.compiled import build, run
from tests.parity.assertions import assert_parity
from tests.tasks.own_data import OWN_DATA
from tests.tasks.small import QUIET

STEPS = 9


def inputs_of(network: Network, rng: np.random.Generator, steps: int = STEPS) -> np.ndarray:
    if network.symbols:
        return rng.integers(0, network.symbols, (steps, 1))
    return rng.normal(size=(steps, 1, network.recurrent[0].inputs)).astype("float32")


def run_in_c(files: gw.export.CFiles, network: Network, inputs: np.ndarray, dtype: str = "float32") -> np.ndarray:
    folder = files.source.parent
    (folder / "main.c").write_text(main_program(files.stack))
    program = build(folder, files.source, folder / "main.c")
    given = inputs.astype("int32" if network.symbols else dtype)
    return run(program, given, dtype, network.output_width)


def so_far(network: Network, inputs: np.ndarray) -> np.ndarray:
    """What the model says after each step of the sequence until then."""
    if network_run(network, inputs)[0].ndim == 3:
        return network_run(network, inputs)[0][:, 0]
    return np.concatenate([network_run(network, inputs[: end + 1])[0] for end in range(len(inputs))])


NETWORKS = {
    "values, last": ("digits", {}, Sizes(8, 10)),
    "standardised, max": ("speakers", {"read": "max"}, Sizes(3, 9)),
    "standardised, mean, two layers": ("speakers", {"read": "mean", "layers": 2}, Sizes(3, 9)),
    "one-hot": ("text", {"symbols": "one-hot", "cell": "lstm"}, Sizes(11, 11, tuple("abcdefghij/"))),
    "embedding, two layers": ("text", {"symbols": "embedding", "layers": 2}, Sizes(11, 11, tuple("abcdefghi*/"))),
}


def model_of(name: str) -> Model:
    recipe, settings, sizes = NETWORKS[name]
    made = recipes.get(recipe).restored({**recipes.get(recipe)().settings(), "hidden": 7, **settings})
    network = made.network(sizes, read_cell(made.cell)).eval()
    for one in network.buffers():
        one.copy_(torch.rand(one.shape) + 0.5)
    return Model(made, sizes, network)


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_model(name: str, weights: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(name)
    network = read_network(as_model_file(model))
    inputs = inputs_of(network, rng)
    files = gw.export.c99(model, tmp_path / "model.c", weights=weights)
    got, want = run_in_c(files, network, inputs), so_far(network, inputs)
    if weights == "float32":
        assert_parity(got, want, dtype="float32", steps=2 * STEPS, cell=name)
        assert files.loss is None
    else:
        assert files.loss is not None
        assert 0 < np.abs(got - want).max() < 5 * files.loss.largest
        assert files.loss.rms < 0.01 * files.loss.outputs_rms
        assert str(files.loss)[:50] in files.header.read_text()
    assert (files.header, files.source) == (tmp_path / "model.h", tmp_path / "model.c")


@pytest.mark.parametrize("sizes", [Sizes(3, 9, classes=tuple("abcdefghi")), Sizes(3, 2)], ids=["classes", "numbers"])
def test_a_step_reads_a_patch(sizes: Sizes, tmp_path: Path, rng: np.random.Generator) -> None:
    made = recipes.get("sequences").configured(["patch=4", "directions=forward", "hidden=7"])
    torch_network = made.network(sizes, read_cell(made.cell)).eval()
    for one in torch_network.buffers():
        one.copy_(torch.rand(one.shape) + 0.5)
    model = Model(made, sizes, torch_network)
    network = read_network(as_model_file(model))
    inputs = rng.normal(size=(12, 1, 3)).astype("float32")
    files = gw.export.c99(model, tmp_path / "model.c")
    got = run_in_c(files, network, inputs.reshape(3, 1, 12))
    with torch.no_grad():
        want = [torch_network(torch.from_numpy(inputs[:end]))[0][0].numpy() for end in (4, 8, 12)]
    assert_parity(got, np.stack(want), dtype="float32", steps=12)
    assert "12 numbers as they were measured: 4 steps, the 3 numbers of the first one first" in " ".join(
        files.header.read_text().replace(" *", "").split()
    )


QUICK = {
    "adding": ["epochs=1", "hidden=8"],
    "digits": ["epochs=1", "hidden=8"],
    "speakers": ["epochs=1", "hidden=8"],
    "text": ["tokens=10000", "epochs=1", "hidden=8"],
    "texts": ["hidden=8", "epochs=1", "words=20", "directions=forward", "ngrams=0"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a quick run of a recipe."""

    @cache
    def run_of(name: str) -> Path:
        made = recipes.get(name).configured(QUICK[name], quick=True)
        out = tmp_path_factory.mktemp(f"{name}-run") / "run"
        source = OWN_DATA[name](tmp_path_factory.mktemp(name)) if name in OWN_DATA else None
        train(made, out=out, source=source, console=QUIET)
        return out

    return run_of


@pytest.mark.parametrize("name", QUICK)
def test_a_trained_model(name: str, trained: Callable[[str], Path], tmp_path: Path, rng: np.random.Generator) -> None:
    folder = trained(name)
    network = read_network(as_model_file(folder))
    inputs = inputs_of(network, rng)
    files = gw.export.c99(folder, tmp_path / "model")
    assert_parity(run_in_c(files, network, inputs), so_far(network, inputs), dtype="float32", steps=STEPS, cell=name)


def layer_of(**options: object) -> torch.nn.Module:
    return gw.nn.Recurrent(gw.cells.gru, 3, 5, **options)


def test_one_layer_of_a_model_in_double_with_the_functions_of_math_h(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of("embedding, two layers")
    files = gw.export.c99(model, tmp_path / "any-name.h", name="lower", layer="recurrent", dtype="float64", math="libm")
    network = read_network(as_model_file(model), "recurrent")
    inputs = rng.normal(size=(STEPS, 1, 7))
    assert (files.name, files.source.name, files.state_bytes) == ("lower", "any-name.c", 2 * 7 * 8)
    assert repr(files) == (  # the equations and all numbers are in `stack`
        f"CFiles(name='lower', header={files.header!r}, source={files.source!r}, input={files.input!r}, "
        f"output={files.output!r}, state_bytes={files.state_bytes}, constant_bytes={files.constant_bytes}, loss=None)"
    )
    got, want = run_in_c(files, network, inputs, "float64"), network_run(network, inputs)[0][:, 0]
    assert got.dtype == want.dtype == np.float64
    assert_parity(got, want, dtype="float64", steps=STEPS)


def test_a_cell_of_a_user_s_own(tmp_path: Path, rng: np.random.Generator) -> None:
    @gw.cell
    def own(x, h, W, U, b):
        keep = gw.sigmoid(gw.mean(W.keep @ x) + b.keep)
        return keep * h + (1 - keep) * gw.softplus(U.new @ h + W.new @ x)

    layer = gw.nn.Recurrent(own, 3, 5)
    network = read_network(as_model_file(layer))
    inputs = inputs_of(network, rng)
    files = gw.export.c99(layer, tmp_path / "own")
    assert_parity(run_in_c(files, network, inputs), so_far(network, inputs), dtype="float32", steps=STEPS)
    assert "keep[t] = sigmoid(mean(W_keep x[t]) + b_keep)" in files.header.read_text()


def test_what_depends_on_parameters_alone_has_a_name_in_the_header(tmp_path: Path) -> None:
    written = gw.export.c99(gw.nn.Recurrent(gw.cells.fastrnn, 3, 5), tmp_path / "layer.c")
    assert "h[t] = k0 * n[t] + k1 * h[t-1]" in written.header.read_text()


def test_the_loss_is_measured_on_a_sample(tmp_path: Path) -> None:
    sample = np.zeros((4, 2, 3))
    files = gw.export.c99(layer_of(), tmp_path / "model", weights="int8", sample=sample)
    assert files.loss is not None
    assert files.loss.steps == 8
    assert "over 8 steps of the sample" in files.header.read_text()


def test_the_header_tells_symbols_and_outputs_in_order_and_ends_no_comment(tmp_path: Path) -> None:
    files = gw.export.c99(model_of("embedding, two layers"), tmp_path / "model")
    comment, sign, rest = files.header.read_text().partition("*/")
    assert '"h", "i", "*", "\\u002f"' in comment
    assert sign
    assert rest.lstrip().startswith("#ifndef MODEL_H")


def test_the_header_tells_variables_and_what_they_mean(tmp_path: Path) -> None:
    made, sizes = recipes.get("adding").configured(["hidden=5"]), Sizes(2, 1, variables=("first", "a */ second"))
    meaning = {"input": "bits, the lowest first", "divided_by": 16, "order": [2, 0, 1]}
    model = Model(made, sizes, made.network(sizes, "gru").eval(), signature=meaning)
    header = gw.export.c99(model, tmp_path / "m.c").header.read_text()
    assert ' * The inputs by their numbers, from 0 up:\n * "first", "a *\\u002f second"\n' in header
    told = ' * "input": "bits, the lowest first"\n * "divided_by": 16\n * "order": [2, 0, 1]\n'
    assert f" * What inputs and outputs mean:\n{told}" in header


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    layer = layer_of(num_layers=2)
    texts = []
    for folder in ("one", "two"):
        files = gw.export.c99(layer, tmp_path / folder / "model.c")
        texts.append((files.header.read_bytes(), files.source.read_bytes()))
    assert texts[0] == texts[1]
    assert all(text.isascii() for text in texts[0])


def forecaster() -> Model:
    made, sizes = recipes.get("series").configured(["history=36"]), Sizes(1, 3)
    return Model(made, sizes, made.network(sizes, "gru"))


def beside_a_linear_model() -> Model:
    made, sizes = recipes.get("sequences").configured(["linear=5", "directions=forward"]), Sizes(2, 3)
    return Model(made, sizes, made.network(sizes, "gru"))


A_NAME = """the C code cannot have this name
  expected: letters, digits and underscores, of which a letter is the first; and no word of C or C++
  got: {}
  do: give name='...'"""
BOTH_WAYS = """layer '' (gru) is bidirectional, so it cannot run step by step
  expected: a layer that reads a sequence from its beginning on
  got: a backward direction, which begins at the end
  do: train the model with bidirectional=False (a recipe with directions=forward), or export it as ONNX for whole \
sequences"""
A_WINDOW = """a model that forecasts cannot run step by step: it reads 36 steps at once
  expected: a model that reads a sequence from its beginning on
  got: one that sees each window by its own level and spread, and reads a linear forecast after it
  do: export it as ONNX, or its layer alone with layer='recurrent'"""
A_LINEAR_MODEL = """a network beside a linear model cannot run step by step
  expected: a recurrent network alone, which reads forward
  got: scores of the values at 5 times beside layer 'recurrent'
  do: train the recipe with linear=0 and directions=forward, or export the model as ONNX for whole series"""
A_PATH = "the path is that of no C file\n  expected: NAME.c, NAME.h or NAME\n  got: model.onnx"
REFUSED = {
    "both ways": (lambda: {"model": layer_of(bidirectional=True)}, BOTH_WAYS),
    "a forecast": (lambda: {"model": forecaster()}, A_WINDOW),
    "a linear model": (lambda: {"model": beside_a_linear_model()}, A_LINEAR_MODEL),
    "a name": (lambda: {"name": "2fast"}, A_NAME.format("'2fast'")),
    "a word of C": (lambda: {"name": "double"}, A_NAME.format("'double'")),
    "weights": (lambda: {"weights": "int4"}, "weights has no such value\n  expected: float32 or int8\n  got: 'int4'"),
    "a path": (lambda: {"path": "model.onnx"}, A_PATH),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_told_why(name: str, tmp_path: Path) -> None:
    options, message = REFUSED[name]
    given = {"model": layer_of(), "path": tmp_path / "model", **options()}
    with pytest.raises(OptionError) as caught:
        gw.export.c99(given.pop("model"), given.pop("path"), **given)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    layer = layer_of()
    layer.U_l0.data[2, 1] = float("inf")
    with pytest.raises(OptionError, match="parameter 'U.r' cannot be written as C"):
        gw.export.c99(layer, tmp_path / "model")
