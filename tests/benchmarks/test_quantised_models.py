"""The measures of a trained model beside those of its copy in eight bits."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import gatewright as gw
from benchmarks import quantised_models
from tests.tasks.small import small_recipe, small_text


def test_measures_stand_beside_those_in_eight_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gw.tasks.train(small_recipe("cell=gru", "epochs=1"), data=small_text(tmp_path), out=tmp_path / "run")
    quantised_models.main([str(tmp_path / "run")])
    title, head, *rows = capsys.readouterr().out.splitlines()
    assert title == "Weights in fewer bits"
    assert head.split() == ["float32", "int8", "change", "bfloat16", "change", "below", "1%"]
    assert rows[0].startswith("text, ")
    assert rows[0].split()[2] == "loss"
    for row in rows:
        exact, *pairs, small = row.split()[3:]
        for rounded, change in zip(pairs[::2], pairs[1::2], strict=True):
            assert abs(float(rounded) / float(exact) - 1) == pytest.approx(abs(float(change[:-1]) / 100), abs=2e-4)
        assert small == "yes"
