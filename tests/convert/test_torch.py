"""PyTorch's layers: read, run by the reference, and written again, held to PyTorch itself."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from gatewright import cells, convert, model_file, nn
from gatewright.errors import ConversionError
from gatewright.lang import recurrent_dropout
from gatewright.model_file import ModelFile

LAYERS = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
SHAPES: list[dict[str, Any]] = [{}, {"bias": False}, {"num_layers": 2, "bidirectional": True}]


def saved(path: Path, kind: str, **options: Any) -> torch.nn.Module:
    """A layer whose state dict lies at that path."""
    torch.manual_seed(3)
    layer = LAYERS[kind](3, 5, **options)
    torch.save(layer.state_dict(), path)
    return layer.double()


def outputs(layer: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """What PyTorch computes in float64."""
    return layer(torch.from_numpy(inputs))[0].detach().numpy()


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_state_dict_computes_what_the_layer_does(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    layer = saved(tmp_path / "layer.pt", kind, **options)
    inputs = np.random.default_rng(0).standard_normal((7, 2, 3))
    got = convert.run(convert.read(tmp_path / "layer.pt"), inputs)
    np.testing.assert_allclose(got, outputs(layer, inputs), atol=1e-7)  # the parameters are float32


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_state_dict_comes_back_bit_for_bit(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path / "layer.pt", kind, **options)
    convert.write(convert.read(tmp_path / "layer.pt", "torch"), tmp_path / "again.safetensors", "torch")
    before, after = (convert.files.read_arrays(tmp_path / name) for name in ("layer.pt", "again.safetensors"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_projection_is_kept(tmp_path: Path) -> None:
    layer = saved(tmp_path / "layer.pt", "lstm", proj_size=2)
    inputs = np.random.default_rng(0).standard_normal((7, 2, 3))
    got = convert.run(convert.read(tmp_path / "layer.pt"), inputs)
    np.testing.assert_allclose(got, outputs(layer, inputs), atol=1e-7)


def by_torch(report: convert.Report, name: str) -> float:
    """The difference between PyTorch's outputs and ours, as it was found in proving a conversion."""
    return report.differences[f"{name}, run by PyTorch"]


@pytest.mark.parametrize("options", [*SHAPES, {"dtype": torch.float64}], ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_conversion_is_proved_by_pytorch_itself(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path / "layer.pt", kind, **options)
    report = convert.convert(tmp_path / "layer.pt", tmp_path / "again.safetensors", target_layout="torch")
    assert max(by_torch(report, "layer.pt"), by_torch(report, "again.safetensors")) < 1e-5


def test_a_projection_and_another_activation_are_proved_by_pytorch(tmp_path: Path) -> None:
    saved(tmp_path / "lstm.pt", "lstm", proj_size=2, num_layers=2)
    assert by_torch(convert.convert(tmp_path / "lstm.pt", tmp_path / "again.pt"), "again.pt") < 1e-5
    saved(tmp_path / "rnn.pt", "rnn", nonlinearity="relu")
    report = convert.convert(tmp_path / "rnn.pt", tmp_path / "again.pt", facts={"activation": "relu"})
    assert max(by_torch(report, "rnn.pt"), by_torch(report, "again.pt")) < 1e-5


def test_cells_and_layers_of_a_larger_model_are_proved_by_pytorch(tmp_path: Path) -> None:
    torch.save(torch.nn.GRUCell(3, 5).state_dict(), tmp_path / "cell.pt")
    model = torch.nn.ModuleDict({"encoder": torch.nn.GRU(3, 5, 2), "decoder": torch.nn.LSTM(3, 4)})
    torch.save(model.state_dict(), tmp_path / "model.pt")
    for source, facts in (("cell.pt", {}), ("model.pt", {"prefix": "decoder."})):
        report = convert.convert(tmp_path / source, tmp_path / "again.pt", facts=facts)
        assert max(by_torch(report, source), by_torch(report, "again.pt")) < 1e-5


def mixed() -> convert.Network:
    """Layers that PyTorch has not in one module: of several kinds, sizes and biases."""
    parts: list[convert.Recurrent] = []
    generator = np.random.default_rng(0)
    for family, inputs, hidden, biased in (("gru", 3, 5, 1), ("gru", 5, 5, 1), ("gru", 5, 4, 1), ("lstm", 4, 4, 0)):
        equations = convert.CellConfig(family, reset="after" if family == "gru" else None)
        shapes = {"W": (hidden, inputs), "U": (hidden, hidden)} | ({"b": (hidden,)} if biased else {})
        drawn = {f"{kind}.{gate}": generator.normal(size=s) for kind, s in shapes.items() for gate in equations.gates}
        parts.append(convert.Recurrent(equations, (drawn,)))
    return convert.Network(tuple(parts))


def test_layers_that_are_not_alike_are_modules_of_their_own(tmp_path: Path) -> None:
    convert.write(mixed(), tmp_path / "own.safetensors", "gatewright")
    report = convert.convert(tmp_path / "own.safetensors", tmp_path / "model.pt")
    assert by_torch(report, "model.pt") < 1e-5
    model = torch.nn.ModuleList(
        [torch.nn.GRU(3, 5, 2), torch.nn.GRU(5, 4), torch.nn.LSTM(4, 4)]  # a bias that a cell has is zero, if it must
    )
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    model.double().load_state_dict(state, strict=True)
    value = torch.from_numpy(np.random.default_rng(1).standard_normal((7, 2, 3)))
    wanted = convert.run(mixed(), value.numpy())
    for layer in model:
        value = layer(value)[0]
    np.testing.assert_allclose(value.detach().numpy(), wanted, atol=1e-12)


def test_biases_of_one_direction_alone_are_zero_in_the_other(tmp_path: Path) -> None:
    one = mixed().recurrent[0]
    without = {name: value for name, value in one.directions[0].items() if not name.startswith("b")}
    convert.write(convert.Network((replace(one, directions=(one.directions[0], without)),)), tmp_path / "m.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    torch.nn.GRU(3, 5, bidirectional=True).load_state_dict(state, strict=True)
    assert state["bias_ih_l0"].any()
    assert not state["bias_ih_l0_reverse"].any()


def test_what_pytorch_has_no_layer_for_is_told(tmp_path: Path) -> None:
    state = torch.nn.GRU(3, 5, bidirectional=True).state_dict()
    torch.save({name: one for name, one in state.items() if name.endswith("_reverse")}, tmp_path / "backwards.pt")
    report = convert.convert(tmp_path / "backwards.pt", tmp_path / "again.onnx")
    assert any(
        "backwards.pt: not proved by PyTorch: PyTorch has no layer that reads backwards alone" in note
        for note in report.notes
    )


def test_a_file_that_pytorch_takes_for_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "layer.pt", "gru")
    monkeypatch.setattr(torch.nn, "GRU", Doubled)
    with pytest.raises(ConversionError, match="PyTorch computes something else with layer.pt"):
        convert.convert(tmp_path / "layer.pt", tmp_path / "again.pt")
    assert not (tmp_path / "again.pt").exists()


class Doubled(torch.nn.GRU):
    """A layer that gives out twice what it should."""

    def forward(self, *given: Any) -> Any:
        outputs, final = super().forward(*given)
        return 2 * outputs, final


def test_a_reset_on_the_other_side_is_refused_with_the_reason(tmp_path: Path) -> None:
    saved(tmp_path / "layer.pt", "gru")
    with pytest.raises(ConversionError, match="resets the state before the recurrent product"):
        convert.convert(tmp_path / "layer.pt", tmp_path / "out.npz", target_layout="d2l")
    assert not (tmp_path / "out.npz").exists()


def test_dropout_of_training_is_no_part_of_what_is_converted(tmp_path: Path) -> None:
    """A trained network draws nothing, so that its cell is the one inside; and the folder of a run is enough."""
    torch.manual_seed(4)
    layer = nn.Recurrent(recurrent_dropout(0.2, per="sequence")(cells.gru(reset="after")), 3, 5)
    tensors = {name: one.detach().numpy() for name, one in layer.state_dict().items()}
    model_file.save(tmp_path / "run" / model_file.FILE_NAME, ModelFile(tensors, nn.layer_records(layer), task=""))
    convert.convert(tmp_path / "run", tmp_path / "layer.pt")
    torchs = torch.nn.GRU(3, 5)
    torchs.load_state_dict(torch.load(tmp_path / "layer.pt", weights_only=True))
    inputs = torch.randn(7, 2, 3)
    torch.testing.assert_close(layer.eval()(inputs)[0], torchs(inputs)[0], atol=1e-6, rtol=0)


def parametrized(kind: str, how: str, **options: Any) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """A layer one of whose weights PyTorch keeps in parts, and its state dict."""
    torch.manual_seed(5)
    layer = LAYERS[kind](3, 5, **options).double()
    name = [name for name, _ in layer.named_parameters() if name.startswith("weight_hh")][-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older weight_norm is deprecated, and files of it are not
        match how:
            case "weight norm":
                torch.nn.utils.weight_norm(layer, name)
            case "weight norm over columns":
                torch.nn.utils.weight_norm(layer, name, dim=1)
            case "weight norm of all":
                torch.nn.utils.weight_norm(layer, name, dim=None)  # pyright: ignore[reportArgumentType]
            case "new weight norm":
                torch.nn.utils.parametrizations.weight_norm(layer, name)
            case "pruning":
                prune.l1_unstructured(layer, name, 0.5)
    with torch.no_grad():  # as after some training
        for one_name, parameter in layer.named_parameters():
            if one_name.endswith(("_g", "original0")):
                parameter.mul_(1.5)
    return layer, layer.state_dict()


KEPT_IN_PARTS = ["weight norm", "weight norm over columns", "weight norm of all", "new weight norm", "pruning"]


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("how", KEPT_IN_PARTS)
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_weights_in_parts_are_folded(kind: str, how: str, options: dict[str, Any], tmp_path: Path) -> None:
    layer, state = parametrized(kind, how, **options)
    torch.save(state, tmp_path / "layer.pt")
    inputs = np.random.default_rng(0).standard_normal((7, 2, 3))
    network = convert.read(tmp_path / "layer.pt")
    np.testing.assert_allclose(convert.run(network, inputs), outputs(layer, inputs), atol=1e-12)
    report = convert.convert(tmp_path / "layer.pt", tmp_path / "again.pt")
    assert max(by_torch(report, "layer.pt"), by_torch(report, "again.pt")) < 1e-12
    assert any(("masks" if how == "pruning" else "weight norm") in note for note in report.notes)


@pytest.mark.parametrize("how", ["spectral_norm", "orthogonal"])
def test_other_parametrizations_are_refused_by_name(how: str, tmp_path: Path) -> None:
    layer = torch.nn.LSTM(3, 5)
    getattr(torch.nn.utils.parametrizations, how)(layer, "weight_hh_l0")
    torch.save(layer.state_dict(), tmp_path / "new.pt")
    with pytest.raises(ConversionError, match=rf"weight_hh_l0' is stored as .*{how.partition('_')[0]}.*is not folded"):
        convert.read(tmp_path / "new.pt")


def test_the_older_spectral_norm_is_refused_by_name(tmp_path: Path) -> None:
    layer = torch.nn.utils.spectral_norm(torch.nn.LSTM(3, 5), "weight_hh_l0")
    torch.save(layer.state_dict(), tmp_path / "old.pt")
    with pytest.raises(ConversionError, match="spectral norm, which is not folded") as refusal:
        convert.read(tmp_path / "old.pt")
    assert "remove_spectral_norm" in str(refusal.value)


@pytest.mark.parametrize("beside", ["rnns.0.module.weight_hh_l0_raw", "rnns.0.weight_hh_l0_raw"])
def test_weight_drop_is_read_as_in_evaluation(beside: str, tmp_path: Path) -> None:
    """As AWD-LSTM keeps it, and fastai, whose files hold what dropout left of the weight in the last step too."""
    layer = torch.nn.LSTM(3, 5).double()
    state = {f"rnns.0.module.{name}": one for name, one in layer.state_dict().items()}
    state[beside] = state.pop("rnns.0.module.weight_hh_l0")
    if "module" not in beside:
        state["rnns.0.module.weight_hh_l0"] = torch.zeros(20, 5)
    torch.save(state, tmp_path / "awd.pt")
    inputs = np.random.default_rng(0).standard_normal((7, 2, 3))
    network = convert.read(tmp_path / "awd.pt")
    np.testing.assert_allclose(convert.run(network, inputs), outputs(layer, inputs), atol=1e-12)
    report = convert.convert(tmp_path / "awd.pt", tmp_path / "again.pt")
    assert by_torch(report, "awd.pt") < 1e-12
    assert f"weight drop was left out, as in evaluation: {beside}" in report.notes


def test_a_reading_that_overlooks_a_layer_is_seen_by_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof does not share our reading: PyTorch reads the names of the file for itself."""
    saved(tmp_path / "layer.pt", "gru", num_layers=2)
    read = convert.formats.FORMATS["torch"].read

    def overlooking(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> convert.Network:
        return read({name: one for name, one in arrays.items() if "_l1" not in name}, facts)

    monkeypatch.setitem(convert.formats.FORMATS, "torch", replace(convert.formats.FORMATS["torch"], read=overlooking))
    with pytest.raises(ConversionError, match="PyTorch computes something else with layer.pt"):
        convert.convert(tmp_path / "layer.pt", tmp_path / "again.npz", target_layout="gluon")


def test_parallel_branches_are_no_stack(tmp_path: Path) -> None:
    branches = torch.nn.ModuleDict({"rnn_0": torch.nn.GRU(4, 4), "rnn_1": torch.nn.GRU(4, 4)})
    torch.save(branches.state_dict(), tmp_path / "branches.pt")
    with pytest.raises(ConversionError, match="may be one above the other, or side by side") as refusal:
        convert.read(tmp_path / "branches.pt")
    assert refusal.value.do == "name those that are meant, in their order, as in prefix=('rnn_0.', 'rnn_1.')"
    assert refusal.value.shell == "name those that are meant, in their order, as in --prefix rnn_0. --prefix rnn_1."
    assert len(convert.read(tmp_path / "branches.pt", prefix=("rnn_0", "rnn_1")).recurrent) == 2
    alone = convert.read(tmp_path / "branches.pt", prefix="rnn_1")
    assert sorted(alone.rest) == [f"rnn_0.{name}" for name in sorted(torch.nn.GRU(4, 4).state_dict())]


def test_modules_whose_sizes_make_them_a_stack_are_told(tmp_path: Path) -> None:
    model = torch.nn.ModuleList([torch.nn.GRU(3, 4), torch.nn.GRU(4, 4)])
    torch.save(model.state_dict(), tmp_path / "model.pt")
    network = convert.read(tmp_path / "model.pt")
    assert network.notes == ("taken for layers one above the other, by their numbers and sizes: 0., 1.",)


def test_a_gap_between_modules_asks(tmp_path: Path) -> None:
    model = torch.nn.ModuleList([torch.nn.GRU(3, 4), torch.nn.Linear(4, 4), torch.nn.GRU(4, 4)])
    torch.save(model.state_dict(), tmp_path / "model.pt")
    with pytest.raises(ConversionError, match="numbers of these modules do not follow one another"):
        convert.read(tmp_path / "model.pt")


def test_a_normalisation_between_layers_is_not_passed_over(tmp_path: Path) -> None:
    layers = [torch.nn.ModuleDict({"norm": torch.nn.BatchNorm1d(4), "rnn": torch.nn.GRU(size, 4)}) for size in (3, 4)]
    torch.save(torch.nn.ModuleDict({"rnns": torch.nn.ModuleList(layers)}).state_dict(), tmp_path / "model.pt")
    with pytest.raises(ConversionError, match=r"other arrays, such as rnns\.0\.norm\.weight, which may act on them"):
        convert.read(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_hh_l1": None}, r"layer 1 of '' is no whole layer: it is without weight_hh\b"),
        ({"bias_ih_l1": None}, "layer 1 of '' has a part of its biases"),
        ({"weight_hh_l1": (20, 4)}, "layer 1 of '' is no whole layer: it is with arrays that do not fit each other"),
        ({"h0": (5,)}, "arrays lie beside those of a layer of torch, and belong to none"),
    ],
)
def test_layers_that_are_not_whole_are_refused(
    change: dict[str, tuple[int, ...] | None], message: str, tmp_path: Path
) -> None:
    state = dict(torch.nn.LSTM(5, 5, 2).state_dict())
    for name, shape in change.items():
        if shape is None:
            del state[name]
        else:
            state[name] = torch.zeros(shape)
    torch.save(state, tmp_path / "layer.pt")
    with pytest.raises(ConversionError, match=message):
        convert.read(tmp_path / "layer.pt")


def test_relu_is_told_where_a_state_dict_cannot_say_it(tmp_path: Path) -> None:
    saved(tmp_path / "rnn.pt", "rnn", nonlinearity="relu")
    (note,) = convert.read(tmp_path / "rnn.pt").notes
    assert (
        note == "not in the file, and taken for granted: activation tanh; where that is wrong, give --activation relu"
    )
    network = convert.read(tmp_path / "rnn.pt", activation="relu")
    assert network.notes == ()
    convert.write(network, tmp_path / "rnn.onnx")
    report = convert.convert(tmp_path / "rnn.onnx", tmp_path / "again.pt")
    said = "not in again.pt, and to be given when it is read: --activation relu, or activation='relu' in Python"
    assert said in report.notes
    assert by_torch(report, "again.pt") < 1e-5
