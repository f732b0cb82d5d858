"""Rows as CSV, and back, whatever a killed process left of them."""

from pathlib import Path

from gatewright.tasks.training.history import as_csv, read_rows

ROWS = [
    {"epoch": 1.0, "iteration": 10.0, "train_loss": 0.5},
    {"epoch": 2.0, "iteration": 20.0, "train_loss": 0.25, "validation_loss": 1e-7},
]
COLUMNS = ["epoch", "iteration", "train_loss", "validation_loss"]


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(as_csv(ROWS, COLUMNS))
    assert path.read_text() == "epoch,iteration,train_loss,validation_loss\n1,10,0.5,\n2,20,0.25,1e-07\n"
    assert read_rows(path) == ROWS


def test_only_up_to_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(as_csv(ROWS, COLUMNS))
    assert read_rows(path, until=19) == ROWS[:1]
    assert read_rows(path, until=9) == []
    assert read_rows(tmp_path / "absent.csv") == []


def test_a_line_that_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(as_csv(ROWS, COLUMNS) + b"3,30,0.")
    assert read_rows(path) == ROWS
    path.write_bytes(as_csv(ROWS, COLUMNS) + b"3,3")
    assert read_rows(path) == ROWS
