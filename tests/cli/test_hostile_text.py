"""Names and texts that would steer a terminal, or are Rich's markup, go through whole commands: shown as text."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from gatewright.cli.results import print_line, show_samples
from gatewright.cli.shell import out
from gatewright.tasks import recipes
from gatewright.tasks.model import Model
from gatewright.tasks.run_data import Sizes
from tests.cli.conftest import Said
from tests.convert.onnx_models import arrays_of, model_of

HOSTILE = "[/x][bold]\x1b]0;title\x07\x1b[2J\x9b31m\u202e\r"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture
def run(invoke: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Run a command in a folder of its own, and hold that nothing that it prints steers."""
    monkeypatch.chdir(tmp_path)

    def checked(*arguments: object) -> Said:
        code, out, err = invoke(*arguments)
        for printed in (out, err):
            assert STEERING.search(printed) is None, ascii(printed)
            assert "Traceback" not in printed
        return code, out, err

    return checked


def test_what_a_model_writes(run: Callable[..., Said], tmp_path: Path) -> None:
    letters = ("<unk>", *sorted({*HOSTILE, *"some words\n"}))
    made, sizes = recipes.get("text").configured(["hidden=8"]), Sizes(len(letters), len(letters), letters)
    Model(made, sizes, made.network(sizes, "gru")).save(tmp_path / "[bold]\x1b.safetensors")
    code, out, _ = run("generate", "[bold]\x1b.safetensors", "--prompt", "some\r\nwords", "--length", "300")
    assert (code, out[:10]) == (0, "some\nwords")
    assert "\\x1b" in out
    code, out, _ = run("generate", "[bold]\x1b.safetensors", "--prompt", HOSTILE, "--length", "40", "--json")
    assert json.loads(out)["prompt"] == HOSTILE


def test_samples_and_paths_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    show_samples(out(), {HOSTILE: "one\n\x1b[2Jtwo"})
    print_line(out(), f"model: {HOSTILE}")
    shown = "[/x][bold]\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\u202e\\x0d"
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("|one")
    assert printed[1].endswith(r"|\x1b[2Jtwo")
    assert printed[2] == f"model: {shown}"


def test_warnings() -> None:
    before = "import sys, warnings; sys.argv = ['gatewright', '--version']; import gatewright.cli as cli; "
    program = before + f"cli.app = lambda **_: warnings.warn({HOSTILE!r}, stacklevel=1); cli.main()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"UserWarning: [/x][bold]\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\u202e\\x0d\n" in ended.stderr


def test_outputs_of_a_graph(run: Callable[..., Said], tmp_path: Path) -> None:
    model = model_of("RNN", arrays_of("RNN", 1))
    layer = model.graph.node[0]
    layer.output[1] = HOSTILE
    model.graph.output.append(onnx.helper.make_tensor_value_info(HOSTILE, onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "rnn.onnx")
    code, out, err = run("convert", "rnn.onnx", "rnn.pt")
    assert code == 0, err
    assert "[/x][bold]" in out
    assert run("convert", "rnn.onnx", "[bold]rnn.pt", "--json")[0] == 0
    code, _, err = run("convert", "rnn.onnx", "[bold]rnn.pt")
    assert (code, err.splitlines()[0]) == (2, "error: [bold]rnn.pt exists already")


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", HOSTILE),
        ("check", f"{HOSTILE}.py:cell"),
        ("evaluate", HOSTILE),
        ("export", HOSTILE, "out.c"),
        ("convert", HOSTILE, f"{HOSTILE}.npz"),
        ("train", HOSTILE),
        ("train", "text", "--data", HOSTILE),
        ("train", "text", "--set", f"{HOSTILE}=1"),
        ("compare", "text", "--cells", HOSTILE),
        ("tune", "text", "--search", HOSTILE),
        ("recipes", HOSTILE),
    ],
    ids=lambda arguments: arguments[0],
)
def test_errors_about_what_was_asked_for(run: Callable[..., Said], arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
