"""The recipe `sounds`: answers for files, arrays and streams, and its features and network in C."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

import gatewright as gw
from gatewright.errors import DataError, OptionError
from gatewright.export.c_check import main_program
from gatewright.tasks.data.sounds.batches import SoundVariation
from gatewright.tasks.data.sounds.log_mel import LogMel
from gatewright.tasks.recipes.sounds import Sounds
from gatewright.tasks.run import Run
from tests.backends.c99.compiled import build, run
from tests.quick_runs import QuickRun
from tests.tasks.data.sounds.test_log_mel import c_features
from tests.tasks.own_data import small_sounds


@pytest.fixture(scope="module")
def tones(quick_run: QuickRun) -> Run:
    """A model that tells a high tone from a low one."""
    return gw.tasks.open(quick_run("sounds")[1])


def tone(hertz: float, seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(8000 * seconds)) / 8000)).astype(np.float32)


def test_tones_are_told_apart(tones: Run) -> None:
    assert tones.result is not None
    assert tones.result.metrics["test"]["accuracy"] == 1.0
    assert list(tones.result.baselines["test"]) == ["accuracy of logistic regression on means and deviations"]
    assert tones.model.recipe.settings()["sample_rate"] == 8000
    answers = tones.predict(([tone(1500, 0.2), tone(400, 0.2)], 8000))
    assert list(answers.columns) == ["row", "class", "probability", "p_high", "p_low"]
    assert answers["class"].tolist() == ["high", "low"]
    alone = tones.predict((tone(1500, 0.2), 8000), top=1)
    assert alone[["row", "class_1"]].values.tolist() == [[0, "high"]]


def test_a_file_of_another_rate_and_two_channels(tones: Run, tmp_path: Path) -> None:
    time = np.arange(4410) / 22050
    samples = 0.3 * np.sin(2 * np.pi * 400 * time)
    soundfile.write(tmp_path / "low.flac", np.stack([samples, samples], 1), 22050)
    answers = tones.predict(tmp_path / "low.flac")
    assert answers[["file", "class"]].values.tolist() == [[str(tmp_path / "low.flac"), "low"]]


def test_evaluation_of_other_sounds(tones: Run, tmp_path: Path) -> None:
    assert tones.evaluate(small_sounds(tmp_path / "more"))["test"]["accuracy"] == 1.0
    (tmp_path / "more" / "high").rename(tmp_path / "more" / "middle")
    with pytest.raises(DataError, match="has classes that the model does not know") as raised:
        tones.evaluate(tmp_path / "more")
    assert (raised.value.expected, raised.value.got) == ("high, low", "middle")


def as_pcm(samples: np.ndarray) -> bytes:
    return (samples * 32768).astype("<i2").tobytes()


def test_a_stream_is_answered_window_by_window(tones: Run) -> None:
    samples = np.concatenate([tone(1500, 0.5), tone(400, 0.5)])
    predictor = tones.predictor(stream_window=0.2, stream_hop=0.15)
    answers = list(predictor.predict_stream(io.BytesIO(as_pcm(samples))))
    assert [round(one["start"], 9) for one in answers] == [0, 0.15, 0.3, 0.45, 0.6, 0.75]
    assert all(one["end"] == pytest.approx(one["start"] + 0.2) for one in answers)
    assert [one["class"] for one in answers][:3] == ["high"] * 3
    assert [one["class"] for one in answers][-2:] == ["low"] * 2
    heard = np.frombuffer(as_pcm(samples), "<i2")
    for number, answer in enumerate(answers):
        alone = tones.predict((heard[1200 * number :][:1600], 8000))
        np.testing.assert_allclose(answer["p_high"], alone["p_high"][0], rtol=1e-5)


def test_an_answer_comes_as_soon_as_its_last_sample_is_there(tones: Run) -> None:
    stream = io.BytesIO(as_pcm(tone(400, 1.0)))
    answers = tones.predictor(stream_window=0.2, stream_hop=0.15).predict_stream(stream)
    next(answers)
    assert stream.tell() == 2 * 1600
    next(answers)
    assert stream.tell() == 2 * 2800


def test_the_window_of_a_stream_follows_from_the_training(tones: Run) -> None:
    median = tones.model.signature["seconds"]["median"]
    assert tones.predictor().stream_seconds() == (median, median / 4)  # pyright: ignore[reportAttributeAccessIssue]
    short = list(tones.predictor().predict_stream(io.BytesIO(as_pcm(tone(400, 0.05)))))
    assert [(one["start"], one["end"], one["class"]) for one in short] == [(0.0, 0.05, "low")]
    with pytest.raises(OptionError, match="cannot be answered in such windows"):
        next(iter(tones.predictor(stream_window=0.1, stream_hop=0.2).predict_stream(io.BytesIO(as_pcm(tone(400, 1))))))


def test_features_and_network_in_c_give_the_same_answers(tmp_path: Path) -> None:
    folder = small_sounds(tmp_path / "sounds")
    trained = gw.tasks.train("sounds", data=folder, out=tmp_path / "run", preset="device", hidden=8, epochs=2)
    assert trained.folder is not None
    files = gw.export.c99(trained.folder, tmp_path / "model.c")
    samples = tone(700, 0.4)
    features = c_features(LogMel.of_signature(trained.model.signature["features"]), samples, tmp_path)
    main = tmp_path / "main.c"
    main.write_text(main_program(files.stack))
    scores = run(build(tmp_path, files.source, main), features, "float32", 2)[-1]
    answer = trained.predict((samples, 8000))
    powers = np.exp(scores - scores.max())
    np.testing.assert_allclose(answer[["p_high", "p_low"]].iloc[0], powers / powers.sum(), atol=1e-4)


def test_changes_of_a_sound_are_drawn_by_the_seed() -> None:
    log_mel = LogMel(8000, 200, 80, 10, 60.0, 4000.0)
    features = log_mel(tone(700, 0.5))
    mean = features.mean(0, dtype=np.float64)
    variation = SoundVariation(1.0, log_mel)
    first, again, other = (variation.apply(features, mean, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.allclose(first, other)
    assert np.isfinite(first).all()
    assert first.min() >= np.float32(np.log(log_mel.floor))
    one = variation.apply(features[:1], mean, np.random.default_rng(2))
    assert one.shape[1] == 10


def test_the_pitch_moves_bands() -> None:
    log_mel = LogMel(8000, 400, 80, 20, 60.0, 4000.0)
    variation = SoundVariation(1.0, log_mel)
    low, high = (log_mel(tone(hertz, 0.3)) for hertz in (800, 1000))
    moved = variation.warped(low, 1.0, 1.25)
    assert moved.mean(0).argmax() == high.mean(0).argmax() != low.mean(0).argmax()
    assert len(variation.warped(low, 2.0, 1.0)) == round(len(low) / 2)


def test_bands_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"of 200 bands are so narrow"):
        Sounds(sample_rate=8000, bands=200).log_mel()
    with pytest.raises(OptionError, match="bands lie where there is no sound") as raised:
        Sounds(sample_rate=8000, highest_hz=5000).log_mel()
    assert raised.value.got == "60 to 5000"
    with pytest.raises(DataError, match="recipe 'sounds' has no data of its own"):
        Sounds().data(None)
