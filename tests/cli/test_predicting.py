"""`gatewright predict`: answers as CSV, JSON lines and files, and line by line while a pipe stays open."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import gatewright as gw
from gatewright.tasks.run import Run
from tests.cli.conftest import Said
from tests.paths import subprocess_environment
from tests.tasks.own_data import small_reviews

Invoke = Callable[..., Said]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("reviews")
    return gw.tasks.train("sentiment", data=small_reviews(folder), out=folder / "run", hidden=6, epochs=1, words=40)


OTHER_COLUMN = "text: text\n"
"""What is told where a table has not the column of the training."""


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("text,class\ntext number 7,1\na text,0\n")
    return path


def test_csv_is_what_python_gets(run: Run, texts: Path, invoke: Invoke) -> None:
    code, out, messages = invoke("predict", run.folder, "--data", texts)
    assert (code, messages) == (0, OTHER_COLUMN)
    printed, answers = pd.read_csv(io.StringIO(out), dtype={"class": str}), run.predict(texts)
    pd.testing.assert_frame_equal(printed, answers, check_dtype=False, rtol=1e-8)


def test_json_lines(run: Run, texts: Path, invoke: Invoke) -> None:
    code, out, messages = invoke("predict", run.folder, "--data", texts, "--json", "--top", "1")
    assert (code, messages) == (0, OTHER_COLUMN)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [list(row) for row in rows] == [["line", "class_1", "probability_1"]] * 2


def test_files_by_suffix(run: Run, texts: Path, invoke: Invoke) -> None:
    path = texts.with_name("answers.tsv")
    code, out, messages = invoke("predict", run.folder, "--data", texts, "--out", path)
    assert (code, out) == (0, "")
    assert messages == f"{OTHER_COLUMN}{path}: 2 answers\n"
    assert list(pd.read_csv(path, sep="\t").columns) == ["line", "class", "probability", "p_0", "p_1"]
    code, _, messages = invoke("predict", run.folder, "--data", texts, "--out", "answers.png")
    assert code == 2
    assert messages == (
        "error: --out answers.png has a suffix for which there is no kind of file\n"
        "  expected: one of .csv, .tsv, .jsonl, .parquet\n  got: .png\n"
    )


def test_data_is_not_overwritten_by_its_answers(run: Run, texts: Path, invoke: Invoke) -> None:
    before = texts.read_bytes()
    code, _, messages = invoke("predict", run.folder, "--data", texts, "--out", texts.parent / "." / texts.name)
    assert code == 2
    assert messages == (
        f"error: --out {texts} is the file that --data names\n  do: write the answers to another file\n"
    )
    assert texts.read_bytes() == before


def test_standard_input_may_be_closed(run: Run, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    code, out, messages = invoke("predict", run.folder, "--data", "-")
    assert (code, out) == (2, "")
    assert messages == "error: standard input is closed\n  do: give a file with --data, or send lines: < FILE\n"


def test_what_cannot_be_asked(run: Run, texts: Path, invoke: Invoke) -> None:
    code, _, messages = invoke("predict", run.folder, "--data", texts, "--rolling")
    assert (code, messages.splitlines()[0]) == (
        2,
        "error: a model of the recipe 'texts' has no option 'rolling' for its answers",
    )
    code, _, messages = invoke("predict", run.folder, "--data", texts, "--json", "--out", "a.csv")
    assert code == 2
    assert messages == (
        "error: --json prints answers, and --out writes them to a file\n"
        "  do: leave out --json, or write --out FILE.jsonl\n"
    )
    code, _, messages = invoke("predict", run.folder, "--data", texts, "--set", "hidden=3")
    assert code == 2
    assert messages == (
        "error: setting 'hidden' cannot be changed for a trained model of the recipe 'texts'\n"
        "  expected: one of encoding, header, decimal, text, label\n  do: leave it out\n"
    )
    code, _, messages = invoke("predict", run.folder)
    assert (code, messages.splitlines()[0]) == (2, "error: there is no data to answer for")


def test_a_line_is_answered_while_the_pipe_is_open(run: Run) -> None:
    command = [sys.executable, "-m", "gatewright", "predict", str(run.folder), "--data", "-", "--json"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=subprocess_environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, text in enumerate(("text number 7", "a text"), 1):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())  # nothing more is written before this comes
            assert answer.pop("line") == number
            assert answer["p_1"] == pytest.approx(run.predict([text])["p_1"][0], rel=1e-6)
        process.stdin.close()
        assert process.stdout.read() == ""
    assert process.returncode == 0


def test_lines_as_csv_and_as_a_file(run: Run, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    given(b"text number 7\r\na text\n")
    code, out, messages = invoke("predict", run.folder, "--data", "-")
    assert (code, messages) == (0, "")
    printed = pd.read_csv(io.StringIO(out))
    assert printed["line"].tolist() == [1, 2]
    given(b"text number 7\na text")
    assert invoke("predict", run.folder, "--data", "-", "--out", tmp_path / "a.csv")[0] == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), printed)
    given(b"fine\n\xe9\n")
    code, out, messages = invoke("predict", run.folder, "--data", "-")
    assert (code, len(out.splitlines())) == (2, 2)
    assert messages.startswith("error: standard input is not UTF-8 text")


def test_another_table_has_other_columns(run: Run, tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "mails.csv"
    path.write_text("who,subject\nan old friend,text number 7\na stranger,a text\n")
    code, out, messages = invoke("predict", run.folder, "--data", path, "--set", "text=subject", "--json")
    assert (code, messages) == (0, "")
    answers = run.predict(["text number 7", "a text"])
    assert [json.loads(line)["p_1"] for line in out.splitlines()] == pytest.approx(answers["p_1"].tolist(), rel=1e-6)
    pd.testing.assert_series_equal(run.predict(path, text="subject")["p_1"], answers["p_1"])


def test_what_a_classifier_reports(run: Run, texts: Path, invoke: Invoke) -> None:
    assert run.folder is not None
    kept = json.loads((run.folder / "result.json").read_text())["classes"]["test"]
    assert {"classes", "macro", "confusion"} <= set(kept)
    assert (run.folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
    picture = texts.with_name("confusion.svg")
    code, out, messages = invoke("evaluate", run.folder, "--confusion", picture)
    assert (code, messages) == (0, "")
    assert out.splitlines()[0].split() == ["part", "loss", "accuracy", "macro_f1"]
    assert "macro average" in out
    assert picture.read_text().startswith("<?xml")
    told = json.loads(invoke("evaluate", run.folder, "--json")[1])["test"]
    assert told["classes"] == kept["classes"]
    assert told["macro_f1"] == kept["macro"]["f1"]
    code, _, messages = invoke("evaluate", run.folder, "--confusion", "a.txt")
    assert (code, messages.splitlines()[0]) == (2, "error: --confusion a.txt is no picture")
