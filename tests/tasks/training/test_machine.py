"""What a result says of the machine."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from gatewright.tasks.training import machine as described


def test_what_a_result_says_of_the_machine() -> None:
    told = described.machine()
    assert told["threads"] == torch.get_num_threads()
    assert told["torch"] == torch.__version__
    assert abs((datetime.now(UTC) - datetime.fromisoformat(told["finished"])).total_seconds()) < 60


@pytest.mark.parametrize(
    ("text", "name"), [("processor\t: 0\nmodel name\t: A processor\nmodel name\t: another\n", "A processor")]
)
def test_a_processor_is_called_by_its_name(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(described, "PROCESSORS", tmp_path / "cpuinfo")
    assert described.processor() == name


def test_a_system_that_tells_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(described, "PROCESSORS", tmp_path / "nothing")
    monkeypatch.setattr(described.platform, "processor", lambda: "")
    monkeypatch.setattr(described.platform, "machine", lambda: "riscv64")
    assert described.processor() == "riscv64"
