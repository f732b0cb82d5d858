"""Whole networks are held to their twins on torch.nn, and timed only where they are the same."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("torch")
pytest.importorskip("lightning")

from benchmarks import files, networks
from benchmarks.names import OURS, TORCH
from benchmarks.training import LAYERS, Training, difference
from tests.benchmarks.tiny import METHOD
from tests.tasks.small import small_recipe, small_text


@pytest.fixture(params=LAYERS)
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Training, Training]:
    """Two layers of each cell that torch.nn has; weights that differ from gate to gate."""
    made = small_recipe(f"cell={request.param}", "dropout=0", "init=normal(0.5)")
    ours = Training.of(made, made.data(small_text(tmp_path)))
    with torch.no_grad():
        for name, one in ours.network.recurrent.named_parameters():
            if name.startswith("b"):
                one.normal_()
    return ours, ours.on_torch()


def test_a_twin_has_the_same_loss_and_gradients(twins: tuple[Training, Training]) -> None:
    found, where = difference(*twins)
    assert found <= networks.TOLERANCE, where
    assert not any(isinstance(one, torch.nn.GRU | torch.nn.LSTM) for one in twins[0].network.modules())
    assert any(isinstance(one, torch.nn.GRU | torch.nn.LSTM) for one in twins[1].network.modules())


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l1", "bias_ih_l1"])
def test_another_weight_is_seen(twins: tuple[Training, Training], name: str) -> None:
    layer: Any = twins[1].network.recurrent
    with torch.no_grad():
        getattr(layer.layer, name)[0] += 0.01
    found, where = difference(*twins)
    assert found > networks.TOLERANCE
    assert where.startswith("the gradient of ")


def test_a_gradient_that_is_none_is_seen(twins: tuple[Training, Training]) -> None:
    ours, theirs = twins
    for one in (ours, theirs):
        one.derive()
    theirs.optimiser.zero_grad()
    with pytest.raises(ValueError, match="a parameter has no gradient"):
        theirs.gradients()


def test_the_states_of_both_are_carried(twins: tuple[Training, Training]) -> None:
    losses = [[one.derive() for _ in range(6)] for one in twins]
    torch.testing.assert_close(*map(torch.tensor, losses))
    assert twins[0].place == 6 % len(twins[0].data.parts["train"])


def test_what_is_measured_becomes_a_table(tmp_path: Path) -> None:
    made = small_recipe("cell=lstm", "dropout=0")
    record = networks.measured("A text", made, METHOD, small_text(tmp_path))
    assert record["status"] == "timed"
    assert record["count"] == 4 * 8
    assert record["runs"].keys() == {OURS, TORCH}
    for name, seconds in ((OURS, 0.001), (TORCH, 0.002)):
        record["runs"][name]["median"] = seconds
    record["difference"] = 1e-7
    (row,) = networks.table({"networks": [record]}).rows
    assert row == ["A text: `lstm`, 2 x 6 units, 4 rows", "32,000 tokens/s", "16,000 tokens/s", "2.00", "1e-07"]


def test_what_differs_is_told_of_and_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "TOLERANCE", -1.0)
    record = networks.measured("A text", small_recipe("cell=lstm", "dropout=0"), METHOD, small_text(tmp_path))
    assert record["status"] == "differs"
    assert "runs" not in record
    (row,) = networks.table({"networks": [record]}).rows
    assert row[3].endswith("of its largest number")


@pytest.mark.parametrize("subject", networks.SUBJECTS, ids=lambda one: one.title)
def test_a_subject_is_a_recipe_that_torch_has(subject: networks.Subject) -> None:
    made = subject.made()
    assert made.cell in LAYERS
    assert (made.dropout, made.input_dropout, made.weight_drop) == (0.0, 0.0, 0.0), "masks would differ"


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(networks, "SUBJECTS", ())
    monkeypatch.setattr(networks, "training_steps", lambda threads, method, *, quick: [])
    monkeypatch.setattr(networks.limits, "limit", lambda threads: None)
    monkeypatch.setattr(networks.limits, "use", lambda threads: None)
    networks.main(["--quick", "--out", str(tmp_path / "throughput.json")])
    result = files.load(tmp_path / "throughput.json")
    assert (result["threads"], result["quick"], result["networks"]) == (1, True, [])
    assert result["sections"] == {"training_steps": []}
    assert result["command"] == "python -m benchmarks.networks --threads 1 --quick"
    titles = [line for line in capsys.readouterr().out.splitlines() if line[:1].isalpha()]
    assert titles[0] == "Whole training steps on 1 thread, milliseconds"
    assert titles[-1] == "Training"


def test_one_section_alone_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "SUBJECTS", ())
    monkeypatch.setattr(networks.limits, "limit", lambda threads: None)
    monkeypatch.setattr(networks.limits, "use", lambda threads: None)
    networks.main(["--quick", "--only", "recipes", "--out", str(tmp_path / "throughput.json")])
    result = files.load(tmp_path / "throughput.json")
    assert (result["sections"], result["networks"]) == ({}, [])
    assert result["command"].endswith(" --quick --only recipes")


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        networks.main(["--only", "steps"])
    assert "no section steps: training_steps, recipes" in capsys.readouterr().err
