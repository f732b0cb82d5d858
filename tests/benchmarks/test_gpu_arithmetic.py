"""The arithmetic of a GPU: the tables of the page are those that the command prints."""

from pathlib import Path

import pytest

from benchmarks import gpu_arithmetic

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"


@pytest.mark.parametrize("table", ["comparison_table", "stepped_table", "scan_table"])
def test_the_page_has_the_table(table: str) -> None:
    assert "\n".join(getattr(gpu_arithmetic, table)()) in PAGE.read_text(encoding="utf-8")


def test_what_fits_on_one_processor() -> None:
    bound = gpu_arithmetic.resident_seconds("GRU, reset after", 64, "bfloat16")
    assert bound == pytest.approx(3 * 64 * 64 * 2 / 128 / 1.755e9)
    assert gpu_arithmetic.resident_seconds("LSTM", 128, "tf32") is None
