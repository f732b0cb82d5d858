"""The live page: what it answers, and to whom it does not."""

import http.client
import json
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.inspect import Clamp
from gatewright.look.session import MOST_CHARACTERS, LiveSession, clamps_of
from tests.look.chromium import chromium, program
from tests.quick_runs import QuickRun

TOKEN = "a-token"


@pytest.fixture
def session(quick_run: QuickRun) -> LiveSession:
    return LiveSession(gw.tasks.open(quick_run("text")[1]))


def unpacked(content: bytes) -> tuple[Any, bytes]:
    (size,) = struct.unpack("<I", content[:4])
    return json.loads(content[4 : 4 + size]), content[4 + size :]


def test_a_text_is_read(session: LiveSession) -> None:
    header, numbers = unpacked(session.read("the sea"))
    assert header["rows"][0]["symbols"] == list("the sea")
    assert header["outputKind"] == "next"
    value = next(value for value in header["layers"][0]["values"] if value["name"] == "h")
    levels = np.frombuffer(numbers, np.uint8)[value["offsets"][0] :][: value["units"] * 7].reshape(-1, 7)
    state = gw.inspect.observe(session.run, text="the sea").layer().states["h"][:, 0].T
    assert not value["differences"]
    decoded = value["low"] + levels * (value["high"] - value["low"]) / 255
    np.testing.assert_allclose(decoded, state, atol=value["high"] / 254)


def test_clamps_change_what_is_read_and_written(session: LiveSession) -> None:
    name = next(iter(session.observed("the").layers))
    (gate,) = session.observed("the").layer().roles.keeps
    clamps = [Clamp(name, gate, unit, 1.0) for unit in range(32)]
    seen = session.observed("the sea", clamps)
    assert (seen.layer().gates[gate] == 1).all()
    assert not seen.layer().states["h"].any()  # it keeps its zeros
    assert seen.layer().trace == session.observed("the sea").layer().trace
    plain = session.write("the ", length=30, seed=1)
    assert plain == session.write("the ", length=30, seed=1) == session.run.generate("the ", length=30, seed=1)
    assert session.write("the ", length=30, seed=1, clamps=clamps) != plain
    assert session.write("the ", length=30, seed=1) == plain


def test_long_texts_are_cut(session: LiveSession) -> None:
    header, _ = unpacked(session.read("the sea " * 10_000))
    assert header["rows"][0]["steps"] == MOST_CHARACTERS
    assert len(session.write("the sea " * 10_000, length=3)) == 3


def test_errors(session: LiveSession, quick_run: QuickRun) -> None:
    with pytest.raises(OptionError, match="length is out of range"):
        session.write("the", length=10**6)
    for entries in ("z", 3, [{"layer": "l0"}], [{"layer": "l0", "gate": "z", "unit": "one", "value": 1}]):
        with pytest.raises(OptionError, match="the clamps cannot be read"):
            clamps_of(entries)
    with pytest.raises(OptionError, match="a model of the recipe 'series' writes no text, and has no live page"):
        LiveSession(gw.tasks.open(quick_run("series")[1]))


@pytest.fixture
def server(session: LiveSession) -> Iterator[int]:
    """The port of a running server."""
    pytest.importorskip("starlette", reason="the extra 'look' is not installed")
    uvicorn = pytest.importorskip("uvicorn", reason="the extra 'look' is not installed")
    from gatewright.look.live import application, listening

    own = listening(0)
    port = own.getsockname()[1]
    app = application(session, token=TOKEN, port=port, title="Live", text="the sea")
    running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [own]})
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield port
    running.should_exit = True
    thread.join()
    own.close()


def answer(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


def test_only_who_knows_the_token_is_answered(server: int) -> None:
    assert answer(server, "GET", "/")[0] == 403
    assert answer(server, "GET", "/?token=another")[0] == 403
    assert answer(server, "GET", "/?token=%C3%A9")[0] == 403
    assert answer(server, "POST", "/read", {"text": "the"})[0] == 403
    assert answer(server, "POST", "/write", {"text": "the"}, X_Gatewright_Token="b")[0] == 403
    status, content = answer(server, "GET", f"/?token={TOKEN}")
    assert status == 200
    assert b'data-live="true"' in content


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost", "127.0.0.1"])
def test_other_hosts_are_refused(server: int, host: str) -> None:
    assert answer(server, "GET", f"/?token={TOKEN}", Host=host)[0] == 403
    assert answer(server, "GET", f"/?token={TOKEN}", Host=f"localhost:{server}")[0] == 200


def test_it_listens_on_this_machine_alone() -> None:
    pytest.importorskip("starlette", reason="the extra 'look' is not installed")
    from gatewright.look.live import listening

    with listening(0) as own:
        host, port = own.getsockname()
        assert host == "127.0.0.1"
        own.listen()
        with pytest.raises(OptionError, match=f"port {port} cannot be used"):
            listening(port)


def test_answers_and_errors(server: int, session: LiveSession) -> None:
    status, content = answer(server, "POST", "/read", {"text": "the sea"}, X_Gatewright_Token=TOKEN)
    assert (status, content) == (200, session.read("the sea"))
    asked = {"text": "the ", "length": 12, "temperature": 0.5, "seed": 3}
    status, content = answer(server, "POST", "/write", asked, X_Gatewright_Token=TOKEN)
    assert (status, json.loads(content)["text"]) == (200, session.write("the ", length=12, temperature=0.5, seed=3))
    for body, message in (
        (b"{", "Expecting"),
        (b"[]", "the request is no JSON object"),
        (b" " * 1_000_001, "the request is too large"),
        ({"text": "the", "clamps": [{"layer": "x", "gate": "z", "unit": 0, "value": 0}]}, "no recurrent layer 'x'"),
    ):
        status, content = answer(server, "POST", "/read", body, X_Gatewright_Token=TOKEN)
        assert status == 400
        assert message in json.loads(content)["error"]


@pytest.mark.slow
@pytest.mark.skipif(program() is None, reason="no Chromium is installed")
def test_the_page_reads_writes_and_clamps(server: int, tmp_path: Path, session: LiveSession) -> None:
    with chromium(tmp_path / "profile") as browser:
        browser.open(f"http://127.0.0.1:{server}/?token={TOKEN}")
        assert browser.value("document.getElementById('typed').value") == "the sea"
        browser.click("#typed")
        browser.key("End")
        browser.type(" is </textarea>")
        browser.wait("document.body.dataset.read === 'the sea is </textarea>'")
        assert browser.value("document.getElementById('reading').textContent") == "the sea is </textarea>"
        assert browser.value("gatewright.chosen.step") == len("the sea is </textarea>") - 1
        browser.value("document.getElementById('temperature').value = 0.5")
        browser.click("#write")
        browser.wait("document.getElementById('written').textContent")
        plain = session.write("the sea is </textarea>", length=200, temperature=0.5)
        assert browser.value("document.getElementById('written').textContent") == plain
        browser.value("gatewright.choose({value: 0, unit: 2})")
        gate = browser.value("gatewright.value()")
        browser.value("delete document.body.dataset.read")
        browser.click("#clamp-1")
        browser.wait("document.body.dataset.read")
        assert f"{gate} of unit 2: 1.000" in browser.value("document.getElementById('status').textContent")
        assert browser.value("document.querySelectorAll('#clamps button').length") == 1
        assert browser.problems == []
