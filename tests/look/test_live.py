"""The live page: what it answers, and to whom it does not."""

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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


def decoded(header: Any, numbers: bytes, name: str, steps: int) -> np.ndarray:
    """One value of the first layer, (units, steps), of a reply that holds so many steps."""
    value = next(value for value in header["layers"][0]["values"] if value["name"] == name)
    assert not value["differences"]
    levels = np.frombuffer(numbers, np.uint8)[value["offsets"][0] :][: value["units"] * steps].reshape(
        value["units"], steps
    )
    return value["low"] + levels * (value["high"] - value["low"]) / 255


def test_a_text_is_read(session: LiveSession) -> None:
    header, numbers = unpacked(session.read({"text": "the sea"}))
    assert header["rows"][0]["symbols"] == list("the sea")
    assert header["outputKind"] == "next"
    assert header["rows"][0]["expected"]["count"] == 8
    state = gw.inspect.observe(session.run, text="the sea").layer().states["h"][:, 0].T
    np.testing.assert_allclose(decoded(header, numbers, "h", 7), state, atol=1 / 254)


def test_only_what_has_changed_is_read_and_sent_again(session: LiveSession) -> None:
    version, texts = None, ["the sea", "the sea is", "the sun is", "the", "the sea"]
    for text, since in zip(texts, (0, 7, 5, 3, 3), strict=True):
        header, numbers = unpacked(session.read({"text": text, "version": version}))
        version = header["version"]
        assert header["since"] == since
        whole = gw.inspect.observe(session.run, text=text)
        np.testing.assert_allclose(session.observed(text).layer().states["h"], whole.layer().states["h"], atol=1e-6)
        session.observed("the other text")  # as another page does, which has no part in the replies to this one
        np.testing.assert_allclose(session.observed(text).outputs, whole.outputs, atol=1e-5)
        state = whole.layer().states["h"][since:, 0].T
        np.testing.assert_allclose(decoded(header, numbers, "h", len(text) - since), state, atol=1 / 254)
    assert unpacked(session.read({"text": "the sea", "version": version - 1}))[0]["since"] == 0
    assert unpacked(session.read({"text": "the sea"}))[0]["since"] == 0


@pytest.mark.parametrize("cell", ["lstm", "elman"])
def test_all_states_of_several_layers_go_on(cell: str, tmp_path: Path) -> None:
    text = "the sea was calm and the sun was low. " * 40
    (tmp_path / "a.txt").write_text(text)
    run = gw.tasks.train(
        "text", data=tmp_path / "a.txt", out=tmp_path / "run", quick=True, hidden=8, layers=2, cell=cell, epochs=1
    )
    session = LiveSession(run)
    session.observed("the sea was")
    parts, whole = session.observed("the sea was low"), gw.inspect.observe(run, text="the sea was low")
    for layer in whole:
        for name, values in {**layer.gates, **layer.states}.items():
            np.testing.assert_allclose(parts.layer(layer.name).values(name), values, atol=1e-6)
    np.testing.assert_allclose(parts.outputs, whole.outputs, atol=1e-5)


def test_a_history_is_changed(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("series")[1])
    session = LiveSession(run)
    seen = session.forecast()
    np.testing.assert_allclose(seen.outputs[:, 0, 0, 1], run.predict()["median"], rtol=1e-5)
    changed = seen.measured[: session.options["history"], 0].copy()
    changed[-1] += 5
    header, _ = unpacked(session.read({"series": changed.tolist(), "horizon": 3}))
    (row,) = header["rows"]
    assert row["series"][0][-4] == pytest.approx(changed[-1, 0], rel=1e-3)
    predictor = run.predictor()
    (window,) = predictor.windows(None)
    expected = predictor.forecasts([replace(window, values=changed)])[0, :3, 0]
    for place, ends in enumerate(row["forecast"][0]):
        assert ends == pytest.approx(expected[:, place].tolist(), rel=1e-3)
    assert row["steps"] == session.options["history"] + 3
    clamped = session.forecast(changed, clamps=[Clamp("recurrent.l0", "z", unit, 1.0) for unit in range(4)])
    assert (clamped.layer().gates["z"][..., :4] == 1).all()
    assert clamped.layer().trace == seen.layer().trace
    for series, horizon, message in (
        ([[1.0]], 3, "the history does not fit the model"),
        ("a", 3, "the history does not fit the model"),
        (changed.tolist(), 0, "the horizon is out of range"),
        (changed.tolist(), "x", "the horizon is out of range"),
    ):
        with pytest.raises(OptionError, match=message):
            session.read({"series": series, "horizon": horizon})
    with pytest.raises(OptionError, match="a model of the recipe 'series' writes no text"):
        session.write("a")


def test_classes_are_given_while_a_text_is_typed(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("texts")[1])
    session = LiveSession(run)
    for text in ("text", "text number", "text number text"):
        header, _ = unpacked(session.read({"text": text}))
        expected = run.predict([text])[[f"p_{label}" for label in header["labels"]]].iloc[0]
        assert header["rows"][0]["classes"] == pytest.approx(expected.tolist(), abs=1e-3)
        assert header["rows"][0]["symbols"] == text.split()


def test_labels_are_given_while_a_text_is_typed(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("tagging")[1])
    header, _ = unpacked(LiveSession(run).read({"text": "the dog"}))
    assert header["rows"][0]["symbols"] == ["the", "dog"]
    assert header["rows"][0]["expected"]["count"] > 0


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


def test_summaries_come_where_they_are_asked_for(session: LiveSession) -> None:
    header, _ = unpacked(session.read({"text": "the sea"}))
    assert not {"saturation", "halfLife"} & set(header)
    later, numbers = unpacked(session.read({"text": "the sea", "version": header["version"], "summaries": True}))
    (table, *_) = gw.inspect.saturation(gw.inspect.observe(session.run, text="the sea"))
    assert later["saturation"][0]["left"] == pytest.approx(table.left.tolist(), rel=1e-3)
    assert later["halfLife"]
    assert (later["since"], numbers) == (7, b"")


def test_a_text_without_a_symbol_has_no_reply(session: LiveSession, quick_run: QuickRun) -> None:
    header, _ = unpacked(session.read({"text": "the sea"}))
    assert session.read({"text": ""}) == b""
    again, numbers = unpacked(session.read({"text": "the sea", "version": header["version"]}))
    assert (again["since"], numbers) == (7, b"")  # the page still has what it had
    for name in ("texts", "tagging"):
        assert LiveSession(gw.tasks.open(quick_run(name)[1])).read({"text": " \n"}) == b""


def test_warming_up_changes_no_reply(session: LiveSession) -> None:
    expected = unpacked(LiveSession(session.run).read({"text": "the sea"}))
    session.warm_up("the sea")
    session.warm_up("")
    assert unpacked(session.read({"text": "the sea"})) == expected


def test_long_texts_are_cut(session: LiveSession) -> None:
    header, _ = unpacked(session.read({"text": "the sea " * 10_000}))
    assert header["rows"][0]["steps"] == MOST_CHARACTERS
    assert len(session.write("the sea " * 10_000, length=3)) == 3


def test_errors(session: LiveSession, quick_run: QuickRun) -> None:
    with pytest.raises(OptionError, match="length is out of range"):
        session.write("the", length=10**6)
    clamp = {"layer": "l0", "gate": "z", "unit": 1, "value": 1}
    assert clamps_of([clamp]) == [Clamp("l0", "z", 1, 1.0)]
    wrong = [{"unit": "one"}, {"unit": 1.5}, {"unit": True}, {"value": "1"}, {"value": float("nan")}, {"layer": 0}]
    for entries in ("z", 3, None, [3], [{"layer": "l0"}], *([{**clamp, **change}] for change in wrong)):
        with pytest.raises(OptionError, match="the clamps cannot be read"):
            clamps_of(entries)
    with pytest.raises(OptionError, match="a model of the recipe 'adding' has no live page"):
        LiveSession(gw.tasks.open(quick_run("adding")[1]))


@pytest.fixture
def server(session: LiveSession) -> Iterator[int]:
    """The port of a running server."""
    pytest.importorskip("starlette", reason="the extra 'look' is not installed")
    with serving(session) as port:
        yield port


@contextmanager
def serving(session: LiveSession) -> Iterator[int]:
    """A running server, at the port that is given."""
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
        assert own.proto == socket.IPPROTO_TCP  # asyncio then sends small replies at once
        host, port = own.getsockname()
        assert host == "127.0.0.1"
        socket.create_connection((host, port), timeout=10).close()  # before any server has started
        with pytest.raises(OptionError, match=f"port {port} cannot be used"):
            listening(port)


def test_answers_and_errors(server: int, session: LiveSession) -> None:
    status, content = answer(server, "POST", "/read", {"text": "the sea"}, X_Gatewright_Token=TOKEN)
    header, numbers = unpacked(content)
    again, expected = unpacked(session.read({"text": "the sea"}))
    assert (status, numbers) == (200, expected)
    assert again == {**header, "version": header["version"] + 1}
    asked = {"text": "the ", "length": 12, "temperature": 0.5, "seed": 3}
    status, content = answer(server, "POST", "/write", asked, X_Gatewright_Token=TOKEN)
    assert (status, json.loads(content)["text"]) == (200, session.write("the ", length=12, temperature=0.5, seed=3))
    for body, message in (
        (b"{", "Expecting"),
        (b"[]", "the request is no JSON object"),
        (b" " * 1_000_001, "the request is too large"),
        ({"text": "the", "clamps": [{"layer": "x", "gate": "z", "unit": 0, "value": 0}]}, "no recurrent layer 'x'"),
        ({"text": None}, "text cannot be read\n  expected: a text\n  got: None"),
        ({"text": ["the"]}, "text cannot be read"),
    ):
        status, content = answer(server, "POST", "/read", body, X_Gatewright_Token=TOKEN)
        assert status == 400
        assert message in json.loads(content)["error"]
    assert answer(server, "POST", "/read", {"text": ""}, X_Gatewright_Token=TOKEN) == (204, b"")
    for changed, message in (
        ({"text": ""}, "the prompt is empty"),
        ({"text": 3}, "text cannot be read\n  expected: a text\n  got: 3"),
        ({"length": "x"}, "length cannot be read\n  expected: a whole number\n  got: 'x'"),
        ({"length": 1.5}, "length cannot be read"),
        ({"length": None}, "length cannot be read"),
        ({"length": float("inf")}, "length cannot be read"),
        ({"length": True}, "length cannot be read"),
        ({"seed": "x"}, "seed cannot be read\n  expected: a whole number\n  got: 'x'"),
        ({"temperature": "hot"}, "temperature cannot be read\n  expected: a number\n  got: 'hot'"),
        ({"temperature": float("nan")}, "temperature cannot be read"),
        ({"temperature": -1}, "temperature cannot be -1.0"),
        ({"clamps": None}, "the clamps cannot be read"),
    ):
        status, content = answer(server, "POST", "/write", {**asked, **changed}, X_Gatewright_Token=TOKEN)
        assert status == 400, changed
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
        text = "the sea is </textarea>"
        state = gw.inspect.observe(session.run, text=text).layer().states["h"][:, 0]
        values = "document.getElementById('status').textContent.match(/: (-?[0-9.]+)/)[1]"
        for step, unit in ((0, 3), (6, 3), (7, 3), (21, 31)):  # kept from the page that was opened, and sent since
            browser.value(f"gatewright.choose({{step: {step}, unit: {unit}, value: 3}})")
            assert float(browser.value(values)) == pytest.approx(state[step, unit], abs=1 / 200)
        browser.wait("document.body.dataset.summaries === 'the sea is </textarea>'")
        browser.value("document.getElementById('typed').value = ''")
        browser.value("document.getElementById('typed').dispatchEvent(new Event('input'))")
        browser.wait("document.body.classList.contains('empty')")
        assert browser.value("getComputedStyle(document.getElementById('reading-panel')).display") == "none"
        assert "nothing to read yet" in browser.value("document.getElementById('live-status').textContent")
        browser.type("the sun is low")
        browser.wait("document.body.dataset.read === 'the sun is low'")
        assert not browser.value("document.body.classList.contains('empty')")
        for text in ("the sea was low", "a low sea was", "the sea is </textarea>"):  # changed at both ends, and within
            browser.value(f"document.getElementById('typed').value = {json.dumps(text)}")
            browser.value("document.getElementById('typed').dispatchEvent(new Event('input'))")
            browser.wait(f"document.body.dataset.read === {json.dumps(text)}")
            assert browser.value("document.getElementById('reading').textContent") == text
            places = "[...document.querySelectorAll('#reading span')].every((s, n) => s.dataset.place === String(n))"
            assert browser.value(places)
        names = "performance.getEntriesByType('measure').map((measure) => measure.name)"
        assert {"gatewright server", "gatewright decode", "gatewright draw"} == set(browser.value(names))
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


@pytest.mark.slow
@pytest.mark.skipif(program() is None, reason="no Chromium is installed")
def test_a_forecast_follows_the_history_that_is_typed(quick_run: QuickRun, tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="the extra 'look' is not installed")
    session = LiveSession(gw.tasks.open(quick_run("series")[1]))
    with serving(session) as port, chromium(tmp_path / "profile") as browser:
        browser.open(f"http://127.0.0.1:{port}/?token={TOKEN}")
        assert len(browser.value("document.getElementById('typed').value").split("\n")) == session.options["history"]
        before = browser.value("document.getElementById('expected').textContent")
        browser.click("#typed")
        browser.value("document.getElementById('typed').setSelectionRange(0, 0)")
        browser.type("9")
        browser.wait("document.body.dataset.read")
        browser.value("gatewright.choose({step: 1000})")
        assert browser.value("document.getElementById('expected').textContent") != before
        browser.value("document.getElementById('typed').value = 'x'")
        browser.type("y")
        browser.wait("document.getElementById('live-status').textContent")
        assert "is not a number" in browser.value("document.getElementById('live-status').textContent")
        assert browser.problems == []
