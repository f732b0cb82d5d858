"""The recipe `sequences`: series of any form in, classes or numbers out, also from exported files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import gatewright as gw
from gatewright.errors import DataError, OptionError
from gatewright.export.onnx_check import differences
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.data.sequences.batches import Variation
from gatewright.tasks.network import RecipeNetwork, Standardised
from gatewright.tasks.recipes.sequences import Sequences
from gatewright.tasks.run import Run
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.sequences.network import SequencesNetwork
from tests.tasks.data.sequences.test_archive_files import put

SMALL = {"hidden": 8, "epochs": 6, "updates": 20, "patch": 3, "rate": 0.02}
STEPS = 20


def waves(count: int, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Series (count, steps, 2) of slow and of fast waves, in units of their own, and which they are."""
    speeds = np.where(np.arange(count) % 2, 0.5, 1.5)
    phases = random.uniform(0, 6, (count, 1))
    first = np.sin(speeds[:, np.newaxis] * np.arange(STEPS) + phases)
    series = np.stack([1000 + 100 * first, 1e-3 * random.normal(size=(count, STEPS))], -1).astype(np.float32)
    return series, np.where(np.arange(count) % 2, "slow", "fast")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model that tells waves apart, trained on arrays."""
    out = tmp_path_factory.mktemp("sequences") / "run"
    return gw.tasks.train("sequences", data=waves(60, np.random.default_rng(1)), out=out, **SMALL)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model that tells the speed of a wave, in units of 1e-9."""
    random = np.random.default_rng(2)
    speeds = random.uniform(0.2, 1.2, 80)
    series = np.sin(speeds[:, np.newaxis] * np.arange(STEPS) + random.uniform(0, 6, (80, 1)))
    out = tmp_path_factory.mktemp("sequences-regression") / "run"
    return gw.tasks.train("sequences", data=(series, speeds * 1e-9), out=out, **{**SMALL, "epochs": 10})


def test_waves_are_told_apart_by_name(run: Run) -> None:
    assert run.result is not None
    assert run.result.metrics["test"]["accuracy"] == 1.0
    assert list(run.result.baselines["test"]) == ["accuracy of 1-nearest neighbour", "accuracy of ridge regression"]
    assert run.model.signature["lengths"] == {"shortest": STEPS, "longest": STEPS}
    assert run.model.recipe.settings()["task"] == "classification"


def test_answers_are_those_of_the_network_called_by_hand(run: Run) -> None:
    series, labels = waves(9, np.random.default_rng(3))
    answers = run.predict([*series[:4], *series[4:, :13]])
    assert list(answers.columns) == ["row", "class", "probability", "p_fast", "p_slow"]
    assert answers["class"].tolist() == labels.tolist()
    short = torch.from_numpy(series[4:, :13]).transpose(0, 1)
    with torch.no_grad():
        scores = run.model.network(torch.cat([short, torch.full((8, 5, 2), 1e6)]), None, torch.full((5,), 13))[0]
        alone = run.model.network(short)[0]
    torch.testing.assert_close(scores, alone)
    np.testing.assert_allclose(answers["p_slow"][4:], alone.softmax(-1)[:, 1].double(), rtol=1e-5)
    top = run.predict(series, top=1)
    assert list(top.columns) == ["row", "class_1", "probability_1"]


def test_the_onnx_file_gives_the_same_answers(run: Run, regression: Run, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    for trained in (run, regression):
        assert trained.folder is not None
        for lengths in (False, True):
            file = gw.export.onnx(trained.folder, tmp_path / "model.onnx", lengths=lengths)
            assert all(one.fits for one in differences(trained.folder, file.path))
        series = waves(5, np.random.default_rng(4))[0].swapaxes(0, 1)[..., : trained.model.sizes.inputs]
        ends = np.array([STEPS, 1, 7, 12, 3])
        (got,) = ort.InferenceSession(tmp_path / "model.onnx").run(None, {"input": series, "lengths": ends})
        with torch.no_grad():
            want = trained.model.network(torch.from_numpy(series.copy()), None, torch.from_numpy(ends))[0].numpy()
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_the_answer_is_a_mean_of_the_network_and_of_a_linear_model(regression: Run) -> None:
    network = regression.model.network
    assert isinstance(network, SequencesNetwork)
    assert network.linear is not None
    assert network.unscaled is not None
    series = waves(3, np.random.default_rng(4))[0][..., :1]
    assert isinstance(network.encode, Standardised)
    flat = network.encode(torch.from_numpy(series))[..., 0]
    linear = network.unscaled(flat @ network.linear.weight + network.linear.bias)
    inputs = torch.from_numpy(series.swapaxes(0, 1).copy())
    with torch.no_grad():
        both = network(inputs)[0]
        own = RecipeNetwork.forward(network, inputs)[0]
        torch.testing.assert_close(both, (network.unscaled(own) + linear) / 2)
        network.train()
        try:
            assert not torch.equal(network(inputs)[0], both)
        finally:
            network.eval()
    plain = Sequences(linear=0).network(Sizes(1, 1), read_cell("gru"))
    assert not [name for name in plain.state_dict() if name.startswith("linear")]


def test_a_line_is_a_series_of_one_channel(run: Run, regression: Run) -> None:
    series = np.sin(0.7 * np.arange(STEPS))
    text = ",".join(f"{value:.9g}" for value in series)
    whole = regression.predict(series[np.newaxis].astype(np.float32))["label"][0]
    predictor = regression.model.recipe.predictor(regression.model)
    for line in (text, f"a name,{text}", f"3,{text}", text.replace(",", "\t"), text.replace(",", " ")):
        assert predictor.predict_line(line) == {"label": pytest.approx(whole, rel=1e-5)}
    with pytest.raises(DataError, match="the line: a value is missing"):
        predictor.predict_line(f"{text[:-4]},,1")
    with pytest.raises(DataError, match="the line: this is no number"):
        predictor.predict_line("1,2,three,4")
    with pytest.raises(DataError, match="are of another scale"):
        predictor.predict_line("1000,2000,3000")
    with pytest.raises(OptionError) as caught:
        run.model.recipe.predictor(run.model).predict_line(text)
    assert str(caught.value) == (
        "a line of standard input is a series of one channel\n  expected: series of 2 channels: channel 1, channel 2\n"
        "  do: give a file or folder"
    )


def test_a_stranger_reads_the_onnx_file_as_predict_answers(run: Run, regression: Run, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    ends = np.array([20, 3, 1, 11])
    for trained in (run, regression):
        series = waves(4, np.random.default_rng(8))[0][..., : trained.model.sizes.inputs]
        answers = trained.predict([one[:end] for one, end in zip(series, ends, strict=True)], any_scale=True)
        file = gw.export.onnx(trained.folder, tmp_path / "model.onnx", lengths=True)
        session = ort.InferenceSession(file.path)
        (outputs,) = session.run(None, {"input": series.swapaxes(0, 1), "lengths": ends})
        metadata = session.get_modelmeta().custom_metadata_map
        signature, classes = json.loads(metadata["gatewright.signature"]), json.loads(metadata.get("classes", "null"))
        assert signature["inputs"] == "as they are: the network scales them by itself"
        if classes is None:
            assert signature["outputs"] == "the targets, in the units of the data"
            np.testing.assert_allclose(outputs[:, 0], answers["label"], rtol=1e-4)
            continue
        assert signature["probabilities"] == "the softmax of the outputs"
        powers = np.exp(outputs - outputs.max(1, keepdims=True))
        probabilities = powers / powers.sum(1, keepdims=True)
        assert [classes[place] for place in probabilities.argmax(1)] == answers["class"].tolist()
        np.testing.assert_allclose(probabilities, answers[[f"p_{name}" for name in classes]], rtol=1e-4, atol=1e-6)


def test_numbers_are_told_in_the_units_of_their_target(regression: Run) -> None:
    assert regression.result is not None
    reached, simple = regression.result.metrics["test"], regression.result.baselines["test"]
    assert set(simple) == {"rmse of ridge regression", "rmse of the mean"}
    assert reached["rmse"] < 0.5 * simple["rmse of the mean"]
    assert regression.model.recipe.settings()["task"] == "regression"
    series = np.sin(0.7 * np.arange(STEPS))[np.newaxis]
    answers = regression.predict(series)
    assert list(answers.columns) == ["row", "label"]
    assert 0.4e-9 < answers["label"][0] < 1e-9
    with pytest.raises(OptionError, match="option 'top' is of classes, and the model tells numbers"):
        regression.predict(series, top=2)
    assert regression.evaluate((series, [0.7e-9]))["test"]["rmse"] == pytest.approx(
        abs(answers["label"][0] - 0.7e-9), rel=1e-4
    )


def test_channels_of_a_file_go_by_their_names(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    series, labels = waves(20, random)
    for place, (one, label) in enumerate(zip(series, labels, strict=True)):
        rows = "".join(f"{first},{second}\n" for first, second in one)
        put(tmp_path / "data" / label / f"{place:02}.csv", f"wave,noise\n{rows}")
    trained = gw.tasks.train("sequences", data=tmp_path / "data", out=tmp_path / "run", **{**SMALL, "epochs": 1})
    assert trained.model.sizes.variables == ("wave", "noise")
    whole = trained.predict(tmp_path / "data")
    assert whole["file"][0] == str(tmp_path / "data" / "fast" / "00.csv")
    turned = "".join(f"{second},7,{first}\n" for first, second in series[0])
    answer = trained.predict(put(tmp_path / "one.csv", f"noise,other,wave\n{turned}"))
    assert answer["p_fast"][0] == pytest.approx(whole["p_fast"][0], rel=1e-4)
    with pytest.raises(DataError) as caught:
        trained.predict(put(tmp_path / "two.csv", "noise,other\n1,2\n3,4\n"))
    assert str(caught.value) == (
        f"{tmp_path / 'two.csv'} lacks channels that the model reads\n  expected: wave, noise\n  got: noise, other\n"
        "  do: give each channel the name that it had in training"
    )


def test_patches_follow_from_the_longest_series_where_nobody_asks() -> None:
    series = np.random.default_rng(6).normal(size=(20, 100, 1))
    data = Sequences().data((series, ["a", "b"] * 10))
    assert data.fitted == {"patch": 3, "task": "classification", "vary": 1.0, "linear": 100}
    assert Sequences().fitted_remark(data.fitted) == "3 steps are read as one (patch=1 reads each by itself)"
    assert Sequences(patch=1, task="classification", linear=0, vary=1).data((series, ["a", "b"] * 10)).fitted == {}


def test_few_series_are_gone_through_again_each_time_changed() -> None:
    series = np.random.default_rng(7).normal(size=(20, 30, 2))
    batches = Sequences(batch=8, updates=10).data((series, ["a", "b"] * 10)).parts["train"]
    assert len(batches) == 10
    first = batches.batch(0, 0)
    np.testing.assert_array_equal(first.inputs, batches.batch(0, 0).inputs)
    plain = Sequences(batch=8, updates=10, vary=0).data((series, ["a", "b"] * 10)).parts["train"]
    epoch = [plain.batch(0, place) for place in range(10)]
    seen = np.concatenate([batch.inputs[0] for batch in epoch])
    assert len(np.unique(seen.round(6), axis=0)) == 16
    assert not np.array_equal(first.inputs, plain.batch(0, 0).inputs)


def test_changes_keep_the_length_and_grow_with_their_strength() -> None:
    series = np.sin(np.arange(50, dtype=np.float32))[:, np.newaxis]
    moved = []
    for strength in (0.0, 0.5, 2.0):
        changed = series.copy()
        Variation(strength).apply(changed, np.ones(1), np.random.default_rng(0))
        moved.append(float(np.abs(changed - series).mean()))
    assert moved[0] == pytest.approx(0, abs=1e-6)
    assert moved[0] < moved[1] < moved[2] < 2
    single = np.ones((1, 1), np.float32)
    Variation(1.0).apply(single, np.ones(1), np.random.default_rng(0))
    assert np.isfinite(single).all()


def test_numbers_of_another_scale_are_refused(run: Run, regression: Run) -> None:
    series, labels = waves(4, np.random.default_rng(9))
    with pytest.raises(DataError, match="the numbers of 'channel 1' are of another scale than those"):
        run.predict(series / 1000)
    with pytest.raises(DataError, match="the numbers of 'channel 1' are of another scale than those"):
        run.evaluate((series / 1000, labels))
    with pytest.raises(DataError, match="the numbers of 'channel 1' are of another scale than those"):
        regression.predict(series[:, :, :1])
    assert len(regression.predict(series[:, :, :1], any_scale=True)) == 4


def test_classes_that_the_model_does_not_know(run: Run) -> None:
    series, _ = waves(4, np.random.default_rng(8))
    with pytest.raises(DataError) as caught:
        run.evaluate((series, ["slow", "fast", "still", "slow"]))
    assert str(caught.value) == (
        "data in memory has labels that the model does not know: still\n"
        "  expected: the model's: fast, slow\n  got: fast, slow, still\n"
        "  do: give data with the model's labels, or name their column with label=..."
    )
