"""The benchmark of GPUs as a whole, small and in Triton's interpreter: whether it works, not how fast."""

import json
from pathlib import Path

import pytest

from benchmarks import gpu


def test_everything_is_measured_beside_the_same_numbers(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    gpu.main(["--quick", "--out", str(out)])
    result = json.loads(out.read_text())
    assert result["left_out"] == []
    sections = result["sections"]
    assert set(sections) == set(gpu.SECTIONS)
    for record in sections["layers"]:
        assert {"triton", "torch"} <= set(record["runs"]), record["absent"]
        assert "cudnn" in record["absent"]
    (forms,) = sections["forms"]
    assert set(forms["us_a_step"]) == {"stepped", "resident"}, forms["absent"]
    assert set(sections["scan"][0]["ms"]) == {"torch.float32", "torch.bfloat16"}
    assert "Gatewright, triton" in sections["networks"][0]["runs"], sections["networks"][0]["absent"]


def test_nothing_begins_when_the_time_is_over(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    gpu.main(["--quick", "--minutes", "0", "--only", "scan", "--out", str(out)])
    result = json.loads(out.read_text())
    assert result["left_out"] == ["scan: scan"]
    assert result["sections"] == {"scan": []}


def test_without_a_gpu_nothing_is_timed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no GPU that torch can use: --quick tries everything"):
        gpu.main(["--out", str(tmp_path / "gpu.json")])
    assert not list(tmp_path.iterdir())
