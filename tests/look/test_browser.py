"""The page in a browser: it loads without an error, answers to mouse and keyboard, and no text does anything to it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

pytest.importorskip("torch")
import torch

import gatewright as gw
from gatewright.inspect import Activations, record
from gatewright.look import page
from gatewright.look.extras import Contributions, Extras, MemoryCurve
from tests.look.chromium import Browser, chromium, program
from tests.quick_runs import QuickRun

pytestmark = [
    pytest.mark.skipif(program() is None, reason="no Chromium is installed"),
    pytest.mark.slow,
]

TEXT = "the cat sat on the mat; the dog sat on the log. "
HOSTILE = [
    "</script>",
    "<!--",
    "<img src=x onerror=window.isHit=1>",
    "\x00",
    "\x1b",
    "\u202e",
    "\u2028",
    "שלום",
    "\ud800",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def seen(symbols: list[str], *, hidden: int = 8, cell: str = "gru", **named: Any) -> Activations:
    torch.manual_seed(0)
    letters = sorted(set(symbols))
    inputs = torch.eye(len(letters))[[letters.index(symbol) for symbol in symbols]][:, None]
    return record(gw.nn.Recurrent(cell, len(letters), hidden), inputs, symbols=[symbols], **named)


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[tuple[Browser, Activations]]:
    activations = seen(list(TEXT * 3))
    browser.open(page(activations, title="A test").save(tmp_path / "page.html").as_uri())
    yield browser, activations
    assert browser.problems == []


def status(browser: Browser) -> str:
    return browser.value("document.getElementById('status').textContent")


def chosen(browser: Browser, name: str) -> Any:
    return browser.value(f"gatewright.chosen.{name}")


def test_it_shows_the_text_and_the_numbers(opened: tuple[Browser, Activations]) -> None:
    browser, activations = opened
    assert browser.value("document.title") == "A test"
    assert browser.value("document.getElementById('reading').textContent") == TEXT * 3
    browser.value("gatewright.choose({unit: 3, step: 20})")
    number = float(status(browser).partition("unit 3: ")[2])
    state = activations.layer().states["h"]
    assert number == pytest.approx(float(state[20, 0, 3]), abs=float(np.abs(state).max()) / 255 + 5e-4)
    drawn = "(() => { const c = document.getElementById('units'); const d = c.getContext('2d')"
    colours = browser.value(
        f"{drawn}.getImageData(0, 0, c.width, c.height).data; return new Set(new Uint32Array(d.buffer)).size; }})()"
    )
    assert colours > 20


def test_moving_over_a_symbol_chooses_its_step(opened: tuple[Browser, Activations]) -> None:
    browser, _ = opened
    browser.move("#reading span[data-place='10']")
    assert chosen(browser, "step") == 10
    assert status(browser).startswith("Step 11 of 144 “t”")
    assert browser.value("document.querySelector('#reading span.now').dataset.place") == "10"


def test_keys_move_through_steps_units_and_values(opened: tuple[Browser, Activations]) -> None:
    browser, _ = opened
    browser.value("gatewright.choose({step: 5})")
    browser.key("ArrowRight")
    browser.key("ArrowRight")
    browser.key("ArrowLeft")
    assert chosen(browser, "step") == 6
    before = chosen(browser, "value"), chosen(browser, "unit")
    browser.key("]")
    assert chosen(browser, "value") != before[0]
    browser.key("[")
    browser.key("ArrowDown")
    assert (chosen(browser, "value"), chosen(browser, "unit")) != before
    assert chosen(browser, "value") == before[0]


def test_find_marks_all_places_and_goes_to_the_next(opened: tuple[Browser, Activations]) -> None:
    browser, _ = opened
    browser.value("gatewright.choose({step: 0})")
    browser.key("/")
    assert browser.value("document.activeElement.id") == "find"
    browser.type("SAT")
    places = browser.value("[...document.querySelectorAll('#reading span.match')].map((s) => Number(s.dataset.place))")
    starts = [place for place in range(144) if (TEXT * 3)[place : place + 3] == "sat"]
    assert places == [start + offset for start in starts for offset in range(3)]
    browser.key("Enter")
    assert chosen(browser, "step") == starts[0]
    browser.key("Enter")
    assert chosen(browser, "step") == starts[1]
    browser.key("Escape")
    assert browser.value("document.querySelectorAll('#reading span.match').length") == 0


def test_a_selected_stretch_shows_its_units_and_its_likes(opened: tuple[Browser, Activations]) -> None:
    browser, activations = opened
    browser.value("gatewright.choose({step: 4, value: 3})")
    name = browser.value("gatewright.value()")
    for _ in range(2):
        browser.key("ArrowRight", shift=True)
    assert chosen(browser, "span") == [4, 7]
    assert "“cat”" in browser.value("document.getElementById('matches-how').textContent")
    values = activations.layer().values(name)[:, 0]
    inside, outside = values[4:7], np.concatenate([values[:4], values[7:]])
    scores = (inside.mean(0) - outside.mean(0)) / (outside.std(0) + 1e-6)
    best = int(np.abs(scores).argmax())
    assert browser.value("document.querySelector('#matches button').textContent") == f"unit {best}"
    likes = browser.value("[...document.querySelectorAll('#matches li b')].map((b) => b.textContent)")
    assert likes[:2] == ["cat", "cat"]


def test_a_stretch_is_selected_with_the_mouse(opened: tuple[Browser, Activations]) -> None:
    browser, _ = opened
    first, last = (browser.centre(f"#reading span[data-place='{place}']") for place in (8, 10))
    browser.mouse("mousePressed", first[0] - 4, first[1])
    browser.mouse("mouseMoved", last[0] + 4, last[1], buttons=1)
    browser.mouse("mouseReleased", last[0] + 4, last[1])
    assert chosen(browser, "span") == [8, 11]


def test_contributions_colour_the_symbols(browser: Browser, tmp_path: Path) -> None:
    contributions = np.zeros((len(TEXT), 4))
    contributions[20, 2] = 3.0
    contributions[20, 1] = -1.0
    extras = Extras({0: Contributions(contributions)}, {"gru": MemoryCurve(np.array([1.0, 0.1, 0.01]))})
    browser.open(page(seen(list(TEXT)), extras=extras).save(tmp_path / "page.html").as_uri())
    browser.click("#contributions")
    browser.move("#reading span[data-place='20']")
    alphas = browser.value(
        "[...document.querySelectorAll('#reading span')].map((s) => "
        "Number(getComputedStyle(s).backgroundColor.match(/[\\d.]+\\)$/)[0].slice(0, -1)))"
    )
    assert alphas[18] == pytest.approx(0.85, abs=1 / 255)
    assert alphas[19] == pytest.approx(0.85 / 3, abs=1 / 255)
    assert max(alphas[:18] + alphas[20:]) == 0
    assert browser.value("!document.getElementById('effective-panel').hidden")
    assert browser.problems == []


@pytest.mark.parametrize("symbols", [HOSTILE, list("مرحبا بالعالم"), ["\x07", "\u200f", "\t", "\n", "", "\u2066"]])
def test_hostile_symbols_are_shown_and_do_nothing(browser: Browser, tmp_path: Path, symbols: list[str]) -> None:
    labels = [f"{place} {symbol}" for place, symbol in enumerate(HOSTILE[:8])]
    title = "</title><script>window.isHit=1</script>"
    activations = seen(symbols, labels=labels)
    browser.open(page(activations, title=title).save(tmp_path / "page.html").as_uri())
    assert browser.value("document.querySelectorAll('#reading span').length") == len(symbols)
    browser.move("#reading span[data-place='1']")
    assert chosen(browser, "step") == 1
    assert browser.value("window.isHit ?? null") is None
    assert browser.value("document.querySelectorAll('img').length") == 0
    shown = browser.value("document.getElementById('reading').textContent")
    assert not set(shown) & {"\x00", "\x1b", "\x07", "\u202e", "\u200f", "\u2066"}
    assert browser.problems == []


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_large_page_works(browser: Browser, tmp_path: Path, cell: str) -> None:
    symbols = list((TEXT * 50)[:2000])
    saved = page(seen(symbols, hidden=256, cell=cell)).save(tmp_path / "page.html")
    assert saved.stat().st_size <= 1_500_000
    browser.open(saved.as_uri())
    browser.value("gatewright.choose({unit: 255, step: 1999})")
    assert status(browser).startswith("Step 2000 of 2000")
    assert browser.problems == []


def test_a_phone_needs_no_scrolling_sideways(browser: Browser, tmp_path: Path) -> None:
    saved = page(seen(list(TEXT))).save(tmp_path / "page.html")
    browser.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    try:
        browser.open(saved.as_uri())
        assert browser.value("document.documentElement.scrollWidth") <= 360
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_dark_mode_changes_the_colours(opened: tuple[Browser, Activations]) -> None:
    browser, _ = opened
    background = "getComputedStyle(document.body).backgroundColor"
    light = browser.value(background)
    for scheme in ("dark", "light"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.call("Emulation.setEmulatedMedia", features=features)
        assert (browser.value(background) == light) == (scheme == "light")


def test_the_bits_of_a_sum_are_those_that_the_model_gives(
    browser: Browser, tmp_path: Path, quick_run: QuickRun
) -> None:
    run = gw.tasks.open(quick_run("adding")[1])
    browser.open(page(run, [(12, 30)]).save(tmp_path / "page.html").as_uri())
    labels = browser.value("[...document.querySelectorAll('#reading span')].map((s) => s.dataset.label).join('')")
    assert labels == run.predict([(12, 30)])["bits"][0]
    assert browser.problems == []


def test_the_dynamics_of_a_layer_are_shown(browser: Browser, tmp_path: Path, quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("adding")[1])
    browser.open(page(run, [(1000, 24), (3, 5)]).save(tmp_path / "page.html").as_uri())
    shown = "[...document.querySelectorAll('#dynamics-panel figure')].filter((f) => !f.hidden).map((f) => f.id)"
    assert browser.value(shown) == ["eigenvalues-figure", "lyapunov-figure", "carry-figure", "drift-figure"]
    for row, steps in ((0, 5), (1, 12)):  # rows come by their number of bits
        browser.value(f"gatewright.choose({{row: {row}}})")
        assert f"of {steps} steps here" in browser.value("document.getElementById('carry-how').textContent")
    assert browser.problems == []


def test_activations_alone_have_a_rank(opened: tuple[Browser, Activations]) -> None:
    browser, activations = opened
    (rank,) = gw.inspect.state_rank(activations)
    facts = browser.value("document.getElementById('facts').textContent")
    assert f"its rank is {rank.rank} of 8" in facts
    assert browser.value("document.getElementById('eigenvalues-figure').hidden")


def test_many_variables_are_a_heat_map(browser: Browser, tmp_path: Path, quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("digits")[1])
    browser.open(page(run).save(tmp_path / "page.html").as_uri())
    assert "a line for each of 8 variables" in browser.value("document.getElementById('variables').textContent")
    seen = gw.inspect.observe(run)
    low, high = seen.series[:, 0].min(), seen.series[:, 0].max()
    places = [(0, 0), (3, 4), (7, 7)]
    colours = browser.value(
        "(() => { const c = document.getElementById('series'), w = c.clientWidth, h = c.clientHeight;"
        "const image = c.getContext('2d').getImageData(0, 0, w, h).data;"
        f"return {json.dumps(places)}.map(([step, variable]) => {{"
        "const x = 48 + (step + 0.8) * (w - 52) / 8, y = h - 20 - (variable + 0.5) * (h - 40) / 8;"
        "const place = 4 * (Math.round(y) * w + Math.round(x)); return [...image.slice(place, place + 3)]; }); })()"
    )
    for (step, variable), colour in zip(places, colours, strict=True):
        share = (seen.series[step, 0, variable] - low) / (high - low)
        expected = 255 * np.array(mpl.colormaps["viridis"](float(share))[:3])
        assert np.abs(np.array(colour) - expected).max() < 8  # the page has ten of its colours, and those between
    assert browser.problems == []


def test_surprise_is_shown_beside_a_text(browser: Browser, tmp_path: Path, quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("text")[1])
    browser.open(page(run, text="the sea was low").save(tmp_path / "page.html").as_uri())
    browser.value("gatewright.choose({step: 3})")
    scored = run.predict(["the sea was low"])
    bits = -scored["log_probability"] / np.log(2)
    shown = browser.value("document.getElementById('expected').textContent")
    came = re.search(r"What came: “s”, a surprise of ([\d.]+) bits", shown)
    assert abs(float(came.group(1)) - bits[4]) < 1 / 128 + 0.05 + 1e-6  # half a level, and a digit
    how = browser.value("document.getElementById('surprise-how').textContent")
    mean = float(re.search(r"the mean is ([\d.]+) bits", how).group(1))
    assert abs(mean - bits[1:].mean()) < 1 / 128 + 0.005 + 1e-6
    assert browser.problems == []


def test_a_surprise_of_many_bits_is_shown_as_it_is(browser: Browser, tmp_path: Path) -> None:
    scores = np.zeros((3, 1, 3))
    scores[1, 0, 2] = -60.0
    activations = seen(list("abc"))
    activations = replace(activations, outputs=scores, labels=list("abc"), output_kind="next")
    browser.open(page(activations).save(tmp_path / "page.html").as_uri())
    browser.value("gatewright.choose({step: 1})")
    shown = browser.value("document.getElementById('expected').textContent")
    assert f"a surprise of {60 / np.log(2) + 1:.1f} bits" in shown
    assert browser.problems == []


def test_a_text_of_words_has_its_lines(browser: Browser, tmp_path: Path) -> None:
    browser.open(page(seen(["a", "cat", "<eos>", "it", "sat", "<eos>"])).save(tmp_path / "page.html").as_uri())
    assert browser.value("document.getElementById('reading').textContent") == "acat<eos>\nitsat<eos>\n"
    tops = browser.value("[...document.querySelectorAll('#reading span')].map(s => s.getClientRects()[0].top)")
    first, second = tops[:3], tops[3:]
    assert max(first) - min(first) < 8 > max(second) - min(second)  # the end of a line has another box
    assert min(second) - max(first) > 8
    assert browser.problems == []


@pytest.mark.parametrize("is_measured", [False, True])
def test_no_chart_is_squeezed(browser: Browser, tmp_path: Path, is_measured: bool) -> None:
    curve = MemoryCurve(np.array([1.0, 0.5, 0.1]))
    extras = Extras(effective_memory={"l0": curve} if is_measured else {})
    browser.open(page(seen(list(TEXT)), extras=extras).save(tmp_path / "page.html").as_uri())
    shapes = browser.value(
        "[...document.querySelectorAll('canvas')].filter(c => c.getBoundingClientRect().width).map(c => "
        "[c.id, c.width / devicePixelRatio / c.getBoundingClientRect().width])"
    )
    assert {"saturation", "memory"} <= {name for name, _ in shapes}
    assert all(abs(share - 1) < 0.02 for _, share in shapes), shapes
