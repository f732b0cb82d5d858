"""The errors of a GPU's kernels: the tables of the page are those that the command measures."""

from pathlib import Path

import pytest
import torch

from benchmarks import gpu_errors

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
CPU = torch.device("cpu")


def page_rows(start: list[str]) -> list[list[float]]:
    """The numbers of the lines of the page whose first columns are these."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Errors\n")[2].partition("\n## ")[0]
    lines = (line.strip("| ").split(" | ") for line in section.splitlines())
    return [list(map(float, line[len(start) :])) for line in lines if line[: len(start)] == start]


@pytest.mark.parametrize(("cell", "products"), [("GRU, reset after", "bfloat16"), ("LSTM", "tf32")])
def test_the_page_has_the_errors_of_layers(cell: str, products: str) -> None:
    """Errors to a fifth: sums in another order round otherwise."""
    row = gpu_errors.layer_row(cell, 64, products, CPU)
    (told,) = page_rows(row[:3])
    for mine, other in zip(row[3:], told, strict=True):
        assert 0.8 < float(mine) / other < 1.25


def test_the_page_has_the_errors_of_functions() -> None:
    for row in gpu_errors.function_table(CPU).rows:
        (told,) = page_rows(list(row[:2]))
        for mine, other in zip(row[2:], told, strict=True):
            assert abs(float(mine) - other) < 0.3  # units in the last place


@pytest.mark.parametrize("cell", gpu_errors.CELLS)
@pytest.mark.parametrize("steps", gpu_errors.STEPS)
def test_the_page_has_them_in_the_order_of_their_digits(cell: str, steps: int) -> None:
    errors = {products: page_rows([cell, str(steps), products])[0] for products in gpu_errors.PRODUCTS}
    for one, two in zip(errors["float16"], errors["bfloat16"], strict=True):
        assert 2 < two / one < 20  # three bits fewer
    for one, two in zip(errors["float32"], errors["tf32x3"], strict=True):
        assert two < 2 * one < errors["tf32"][0] / 10
