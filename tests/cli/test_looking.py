"""`gatewright look`: a page for a model of any recipe, from a text, from data, or from the model's own text."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import shutil

from tests.cli.conftest import Said
from tests.quick_runs import QuickRun

Invoke = Callable[..., Said]


def header_of(path: Path) -> Any:
    found = re.search(r'id="header">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return json.loads(found.group(1))


@pytest.fixture
def copied(quick_run: QuickRun, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a run, into which a test may write."""
    return lambda name: Path(shutil.copytree(quick_run(name)[1], tmp_path / "a run"))


def test_a_text_becomes_a_page_in_the_folder_of_the_run(copied: Any, tmp_path: Path, invoke: Invoke) -> None:
    run, text = copied("text"), tmp_path / "a text.txt"
    text.write_text("the sea")
    code, out, messages = invoke("look", run, "--text", text, "--title", "A sea")
    size = (run / "look.html").stat().st_size
    assert (code, messages, out) == (0, "", f"{run / 'look.html'}  {size / 1e6:.1f} MB\n")
    header = header_of(run / "look.html")
    assert header["rows"][0]["symbols"] == list("the sea")
    assert (header["title"], header["outputKind"]) == ("A sea", "next")


def test_beside_a_model_file_and_elsewhere(copied: Any, tmp_path: Path, invoke: Invoke, monkeypatch: Any) -> None:
    model = copied("text") / "model.safetensors"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the lamp"), encoding="utf-8"))
    assert invoke("look", model, "--text", "-")[0] == 0
    assert header_of(model.with_name("look.html"))["rows"][0]["symbols"] == list("the lamp")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"sea"), encoding="utf-8"))
    other = tmp_path / "page.html"
    assert invoke("look", model, "--text", "-", "--out", other)[0] == 0
    assert header_of(other)["rows"][0]["symbols"] == list("sea")


def test_a_language_model_writes_a_text_where_its_own_is_gone(tmp_path: Path, invoke: Invoke) -> None:
    import gatewright as gw

    text, run = tmp_path / "own.txt", tmp_path / "a run"
    text.write_text("the sea was calm and the sun was low. " * 60)
    gw.tasks.train("text", data=text, out=run, quick=True, hidden=8, epochs=1)
    text.unlink()
    code, _, messages = invoke("look", run)
    assert code == 0
    found = re.fullmatch(
        r"the text that the model was trained on cannot be read: .*own\.txt' is neither a data set nor a file\n"
        r"shown: a sample that the model writes itself, from '(.*)' on; give a text with --text\n",
        messages,
    )
    assert found
    symbols = "".join(header_of(run / "look.html")["rows"][0]["symbols"])
    assert symbols.startswith(found.group(1))
    assert len(symbols) > 500


def test_a_language_model_reads_its_own_text(copied: Any, invoke: Invoke) -> None:
    run = copied("words")
    code, _, messages = invoke("look", run)
    assert (code, messages) == (0, "shown: data that the model was measured on; name other data with --data\n")
    assert len(header_of(run / "look.html")["rows"][0]["symbols"]) > 20


def test_a_long_text_is_cut(copied: Any, tmp_path: Path, invoke: Invoke) -> None:
    run, text = copied("text"), tmp_path / "long.txt"
    text.write_text("the sea was calm. " * 600_000)
    code, _, messages = invoke("look", run, "--text", text, "--steps", "50")
    assert (code, messages) == (0, "shown: the first 50 steps\n")
    row = header_of(run / "look.html")["rows"][0]
    assert len(row["symbols"]) == row["steps"] == 50
    assert row["all"] > 50


def test_a_page_that_would_be_too_large_has_fewer_steps(copied: Any, invoke: Invoke, monkeypatch: Any) -> None:
    from gatewright.look import page

    monkeypatch.setattr(page, "__kwdefaults__", {**page.__kwdefaults__, "largest": 120_000})
    run = copied("text")
    code, _, messages = invoke("look", run)
    assert code == 0
    assert re.search(r"\nshown: the first \d+ steps\n$", messages)
    code, _, messages = invoke("look", run, "--steps", "600", "--rows", "1")
    assert code == 2
    assert "error: the page would be too large" in messages
    assert "do: show fewer steps: --steps N, or fewer rows: --rows N" in messages


def test_rows_of_classified_texts(copied: Any, tmp_path: Path, invoke: Invoke) -> None:
    run, data = copied("texts"), tmp_path / "texts.csv"
    data.write_text("text,class\ntext number 7,1\na text,0\nnumber,1\n")
    code, _, _ = invoke("look", run, "--data", data, "--rows", "2")
    header = header_of(run / "look.html")
    assert code == 0
    assert [len(row["symbols"]) for row in header["rows"]] == [3, 2]
    assert header["rows"][0]["symbols"][:2] == ["text", "number"]
    assert all(abs(sum(row["classes"]) - 1) < 1e-3 for row in header["rows"])


def test_a_forecast_is_in_the_units_of_the_data(copied: Any, invoke: Invoke) -> None:
    import gatewright as gw

    run = copied("series")
    assert invoke("look", run)[0] == 0
    row = header_of(run / "look.html")["rows"][0]
    answers = gw.tasks.open(run).predict()
    ((low, middle, high),) = row["forecast"]
    for ends, name in ((low, "low"), (middle, "median"), (high, "high")):
        assert ends == pytest.approx(answers[name].tolist(), rel=1e-3)
    history = [value for value in row["series"][0] if value is not None]
    assert history == pytest.approx([place % 12 + place / 50 for place in range(150 - len(history), 150)], rel=1e-3)
    assert len(row["series"][0]) == len(history) + len(middle) == row["steps"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["--out", "page.pdf"],
            "error: --out page.pdf is no page\n  expected: .html\n  got: .pdf\n",
        ),
        (["--text", "a", "--data", "b"], "error: there are --text and --data\n  do: leave one of them out\n"),
    ],
)
def test_errors(quick_run: QuickRun, invoke: Invoke, arguments: list[str], error: str) -> None:
    assert invoke("look", quick_run("text")[1], *arguments) == (2, "", error)


def test_a_model_that_reads_no_text_says_so(quick_run: QuickRun, invoke: Invoke, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("a")
    code, out, messages = invoke("look", quick_run("series")[1], "--text", text, "--out", tmp_path / "a.html")
    assert (code, out) == (2, "")
    assert messages.startswith("error: a model of the recipe 'series' reads no text\n")
    assert messages.endswith("do: leave out --text, and name the data with --data\n")


def test_without_data_a_model_reads_that_which_it_was_measured_on(
    quick_run: QuickRun, invoke: Invoke, tmp_path: Path
) -> None:
    code, _, messages = invoke("look", quick_run("digits")[1], "--rows", 3, "--out", tmp_path / "a.html")
    assert (code, messages) == (0, "shown: data that the model was measured on; name other data with --data\n")
    assert "test 1: " in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_the_text_is_not_overwritten(quick_run: QuickRun, invoke: Invoke, tmp_path: Path) -> None:
    text = tmp_path / "a.html"
    text.write_text("the sea")
    code, _, messages = invoke("look", quick_run("text")[1], "--text", text, "--out", text)
    assert code == 2
    assert messages == f"error: --out {text} is the file that --text names\n  do: write the page to another file\n"
    assert text.read_text() == "the sea"


def test_standard_input_may_be_closed_or_empty(
    quick_run: QuickRun, invoke: Invoke, monkeypatch: Any, tmp_path: Path
) -> None:
    arguments = ("look", quick_run("text")[1], "--text", "-", "--out", tmp_path / "a.html")
    monkeypatch.setattr(sys, "stdin", None)
    assert invoke(*arguments) == (
        2,
        "",
        "error: standard input is closed\n  do: name a file with --text, or send a text: < FILE\n",
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b""), encoding="utf-8"))
    assert invoke(*arguments) == (2, "", "error: standard input is empty\n")


def test_gradients_are_measured_unless_they_are_left_out(copied: Any, invoke: Invoke) -> None:
    run = copied("series")
    assert invoke("look", run)[0] == 0
    header = header_of(run / "look.html")
    assert list(header["saliency"]) == ["0"]
    assert header["effectiveMemory"][0]["name"] == "recurrent.l0"
    assert invoke("look", run, "--no-gradients")[0] == 0
    header = header_of(run / "look.html")
    assert (header["saliency"], header["effectiveMemory"]) == ({}, [])
    assert header["dynamics"][0]["isFixed"]


def test_options_of_live_pages(quick_run: QuickRun, invoke: Invoke, monkeypatch: Any) -> None:
    run = quick_run("text")[1]
    pytest.importorskip("starlette", reason="the extra 'look' is not installed")
    assert invoke("look", run, "--live", "--no-gradients") == (
        2,
        "",
        "error: a live page has no option --no-gradients\n  do: leave it out\n",
    )
    assert invoke("look", run, "--port", "1") == (
        2,
        "",
        "error: --port is the port of a live page\n  do: add --live, or leave out --port\n",
    )
    for name in {"starlette", *filter(lambda name: name.startswith("starlette."), sys.modules)}:
        monkeypatch.setitem(sys.modules, name, None)  # another test may have imported its parts
    monkeypatch.delitem(sys.modules, "gatewright.look.live", raising=False)
    code, out, messages = invoke("look", run, "--live")
    assert (code, out) == (2, "")
    assert messages.startswith("error: a live page needs the package 'starlette")
    assert messages.endswith("do: pip install 'gatewright[look]'\n")
