"""Models that Keras 1 and 2 wrote, which others keep with what they compute: ../shared/weights/keras-dl4j."""

from pathlib import Path

import numpy as np
import pytest

from gatewright import convert
from tests.paths import SHARED_WEIGHTS

h5py = pytest.importorskip("h5py")


def told(path: Path) -> Path:
    """The file that tells a model's inputs and outputs."""
    return path.with_name(path.name.replace("_model.h5", "_inputs_and_outputs.h5"))


FOLDER = SHARED_WEIGHTS / "keras-dl4j"
FILES = sorted(path.relative_to(FOLDER) for path in FOLDER.glob("*/**/*.h5") if "inputs_and" not in path.name)
TOLD = [path for path in FILES if told(path) != path and (FOLDER / told(path)).exists()]


@pytest.mark.parametrize("path", TOLD, ids=str)
def test_a_model_predicts_what_keras_predicted(path: Path, shared_weights: Path) -> None:
    model = shared_weights / "keras-dl4j" / path
    with h5py.File(told(model)) as file:
        if "predictions" not in file:
            pytest.skip("this one is kept without predictions")
        inputs, wanted = (next(iter(file[name].values()))[()] for name in ("inputs", "predictions"))
        activations = {name: array[()] for name, array in file["activations"].items()}
    network = convert.read(model)
    np.testing.assert_allclose(convert.run(network, inputs.swapaxes(0, 1)), wanted, rtol=1e-6, atol=1e-6)
    recurrent = convert.run(convert.Network(network.parts[:1]), inputs.swapaxes(0, 1))
    name = next(name for name in activations if "lstm" in name or "rnn" in name)
    batch_first = recurrent.swapaxes(0, 1) if recurrent.ndim == 3 else recurrent
    np.testing.assert_allclose(batch_first, activations[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "layout"), [(".h5", "keras"), (".keras", "keras"), (".weights.h5", "keras"), (".h5", "keras1")]
)
@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_file_is_read_and_goes_into_every_file_of_keras(
    path: Path, suffix: str, layout: str, shared_weights: Path, tmp_path: Path
) -> None:
    target = tmp_path / f"again{suffix}"
    report = convert.convert(shared_weights / "keras-dl4j" / path, target, target_layout=layout)
    exact = suffix == ".h5"  # the others have a hard sigmoid of another slope
    assert max(report.differences.values()) <= (0.0 if exact else 1e-6 * max(1.0, report.scale))


def test_there_are_as_many_files_as_their_source_says(shared_weights: Path) -> None:
    del shared_weights
    assert (len(FILES), len(TOLD)) == (36, 6)
