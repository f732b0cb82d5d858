"""A result becomes a page, tables and a picture; what is kept is read back."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from benchmarks import cpu, files, goals, layers, report, step
from benchmarks.names import FORWARD, LIBRARIES, OURS, PLAIN, TRAINING
from benchmarks.summary import by_least, tables
from benchmarks.tables import Table
from tests.benchmarks import tiny
from tests.paths import ROOT

MACHINE = {
    "date": "2026-01-31",
    "processor": "A processor",
    "cores": 2,
    "vector_features": ["sse4.2"],
    "system": "Linux",
    "memory_GiB": 8,
    "largest_cache_MiB": 32.0,
    "python": "3.11.0",
    "versions": {"torch": "2.8.0", "jax": None},
    "peak": {"1": 1e11},
    "copy": {"1": 1e10},
}


def run(median: float) -> dict[str, Any]:
    return {"status": "timed", "difference": 1e-7, "least": median, "median": median, "low": median, "high": median}


def record(mode: str, shape: str, ours: float, **theirs: float | str) -> dict[str, Any]:
    """Peers are named as they are, with _ for what a name cannot have."""
    names = {name.replace(".", "_").replace(" ", "_"): name for name in LIBRARIES}
    runs = {OURS: run(ours)}
    for name, value in theirs.items():
        runs[names[name]] = {"status": value, "reason": "for a test"} if isinstance(value, str) else run(value)
    return {"cell": "gru", "mode": mode, "shape": shape, "flops": 10**6, "peak": 1e11, "runs": runs}


@pytest.fixture
def result() -> dict[str, Any]:
    forward = [
        record(FORWARD, "100,1,32,32", 1e-5, torch_nn=1e-4, ONNX_Runtime=2e-5, OpenVINO="differs"),
        record(FORWARD, "35,32,28,256", 2e-5, torch_nn=1.8e-4, ONNX_Runtime=1e-5, OpenVINO="absent"),
    ]
    training = [record(TRAINING, "100,1,32,32", 1e-4, torch_nn=7e-4, JAX=3e-4)]
    return {
        "format": files.FORMAT,
        "command": "python -m benchmarks.cpu --threads 1",
        "threads": 1,
        "quick": False,
        "machine": MACHINE,
        "sections": {"forward": forward, "training": training},
    }


def test_a_table_has_the_times_the_ratios_and_why_there_is_none(result: dict[str, Any]) -> None:
    (table,) = tables(result)["forward"]
    assert table.text().splitlines() == [
        "GRU, forward, microseconds",
        "T,B,I,H      Gatewright torch.nn ONNX RT OpenVINO x best x torch peak",
        "100,1,32,32          10      100      20  differs   2.00    10.0 100%",
        "35,32,28,256         20      180      10   absent   0.50    9.00  50%",
        "Geometric mean: 1.00 times the fastest peer, 9.49 times torch.nn.",
    ]


def test_the_least_of_the_rounds_can_be_shown(result: dict[str, Any]) -> None:
    ours = result["sections"]["training"][0]["runs"][OURS]
    ours["least"] = ours["median"] / 2
    shown = [tables(one)["training"][0].rows[0][1] for one in (result, by_least(result))]
    assert shown == ["100", "50"]


def test_a_terminal_of_80_columns_is_wide_enough(result: dict[str, Any]) -> None:
    slow = dict.fromkeys(("torch_nn", "ONNX_Runtime", "OpenVINO", "JAX"), 0.123456)
    result["sections"]["forward"] = [record(FORWARD, "256,16,512,512", 0.0512345, **slow)]
    shown = [*tables(result)["forward"], goals.table(result)]
    assert max(len(line) for table in shown for line in table.text().splitlines()) <= 80


def test_goals_are_held_to_what_was_measured(result: dict[str, Any]) -> None:
    rows = {row[0]: tuple(row[1:4]) for row in goals.table(result).rows}
    assert rows["GRU forward, times the fastest peer, worst"] == (">= 1", "0.5", "no")
    assert rows["GRU forward, times torch.nn, mean"] == (">= 5", "9.49", "yes")
    assert rows["GRU forward, share of peak, B>=16, H>=128, worst"] == (">= 0.75", "0.5", "no")
    assert rows["GRU training, times the fastest peer, mean"] == (">= 2", "3", "yes")
    assert not any("thread" in name for name in rows)


def test_a_goal_has_the_bound_of_the_machine(result: dict[str, Any]) -> None:
    rows = {row[0]: row[4] for row in goals.table(result).rows}
    assert rows["GRU forward, times the fastest peer, worst"] == "1"
    assert rows["GRU training, times torch.nn, mean"] == "23.3"
    result["sections"]["single_row"] = [
        {"hidden": 32, "bytes": 4, "runs": {PLAIN: run(4e-7), FORWARD: run(4e-7), TRAINING: run(9e-7)}}
    ]
    rows = {row[0]: row[4] for row in goals.table(result).rows}
    # two loops of 100 steps of 0.4 us take longer than 3e6 operations at 100 GFLOP/s
    assert rows["GRU training, times torch.nn, mean"] == f"{7e-4 / (2 * 100 * 4e-7):.3g}"


def test_a_page_shows_machine_picture_goals_and_sections(result: dict[str, Any]) -> None:
    page = report.page(result)
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        "## How to read the tables",
        "## How it is measured",
        "## The machine",
        "## Goals",
        "## GRU, forward",
        "## GRU, training step",
    ]
    assert "\npython -m benchmarks.cpu --threads 1\n" in page
    assert "| processor | A processor |" in page
    assert "torch 2.8.0, jax absent" in page
    assert "(benchmarks.svg)" in page
    assert "| 100,1,32,32 | 10 | 100 | 20 | differs | 2.00 | 10.0 | 100% |" in page


def test_what_is_written_is_text_and_the_same_each_time(result: dict[str, Any], tmp_path: Path) -> None:
    contents: list[dict[str, bytes]] = []
    for name in ("one", "two"):
        report.write(tmp_path / name, result)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"benchmarks.json", "benchmarks.md", "benchmarks.svg"}
    lines = [line for content in contents[0].values() for line in content.decode().splitlines()]
    assert [line for line in lines if line != line.rstrip()] == []
    assert files.load(tmp_path / "one" / "benchmarks.json") == result


def test_a_result_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"format": 0}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"old\.json is not a result of format 1: measure again"):
        files.load(tmp_path / "old.json")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old", encoding="utf-8")
    with pytest.raises(TypeError):
        files.write_bytes(tmp_path / "file", "no bytes")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "old"


def test_what_is_measured_can_be_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, result: dict[str, Any]) -> None:
    monkeypatch.setattr(layers, "LIBRARIES", tiny.PEERS)
    result["sections"] = {"forward": layers.forward(tiny.setup()), "training": layers.training(tiny.setup())}
    report.write(tmp_path, result)
    page = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert page.count("| T,B,I,H | Gatewright | torch.nn | x best | x torch | peak |") == 2
    assert files.load(tmp_path / "benchmarks.json") == result


def test_a_step_is_measured_beside_what_is_installed(monkeypatch: pytest.MonkeyPatch, result: dict[str, Any]) -> None:
    monkeypatch.setattr(step, "SIZES", (4,))
    (record,) = step.step(tiny.setup())
    assert record["hidden"] == 4
    assert {run["status"] for run in record["runs"].values()} <= {"timed", "absent"}
    assert record["runs"][step.STEP]["status"] == record["runs"][step.KERNEL]["status"] == "timed"
    result["sections"] = {"step": [record]}
    (table,) = tables(result)["step"]
    assert table.rows[0][0] == "4"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "forward,backward"], "no section backward: forward, training, cells"),
        (["--shapes", "1,2,3"], "a shape is steps,batch,input,hidden"),
        (["--threads", "0"], "from 1 to"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cpu.main(arguments)
    assert told in capsys.readouterr().err


def test_a_table_in_a_document_has_its_columns_aligned() -> None:
    table = Table("Title", ["", "a"], [["x", "1"]], ["A note."])
    assert table.markdown() == "|  | a |\n| --- | ---: |\n| x | 1 |\n\nA note."


def test_the_page_in_the_documents_is_made_of_the_result_beside_it() -> None:
    folder = ROOT / "docs"
    page = (folder / report.PAGE).read_text(encoding="utf-8")
    assert page == report.page(files.load(folder / report.RESULT)), "python -m benchmarks.report"
    assert (folder / f"{report.PICTURE}.svg").read_text(encoding="utf-8").startswith("<?xml")
