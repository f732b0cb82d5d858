"""Diagrams: everything of a cell is drawn, no line runs through a box, and any name is harmless."""
# pyright: reportMissingParameterType=false

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import gatewright as gw
from gatewright import cells
from gatewright.derive import vjp
from gatewright.drawing.nodes import NodeKind, graph_of
from gatewright.errors import OptionError, WriteError
from gatewright.lang import Cell
from gatewright.trace import trace_cell
from gatewright.trace.ir import renamed
from tests.backends.formulas.cases import CASES
from tests.paths import ROOT

GRU, LSTM = cells.get("gru"), cells.get("lstm")
SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]
Segment = tuple[tuple[float, float], tuple[float, float]]


def root_of(cell: Cell) -> ElementTree.Element:
    return ElementTree.fromstring(gw.diagram(cell).svg)


def boxes(root: ElementTree.Element) -> list[Box]:
    """Left, top, right and bottom of all boxes and circles."""
    found: list[Box] = []
    for group in root.iter(f"{SVG}g"):
        for shape in group.findall(f"{SVG}rect"):
            x, y, width, height = (float(shape.attrib[key]) for key in ("x", "y", "width", "height"))
            found.append((x, y, x + width, y + height))
        for circle in group.findall(f"{SVG}circle"):
            x, y, r = (float(circle.attrib[key]) for key in ("cx", "cy", "r"))
            found.append((x - r, y - r, x + r, y + r))
    return found


def lines(root: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """The corners of every line."""
    paths = [path.attrib["d"] for path in root.findall(f"{SVG}path") if "stroke-width" in path.attrib]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+),([-\d.]+)", path.replace(" Q", " L"))]
        for path in paths
    ]


def segments(line: list[tuple[float, float]]) -> list[Segment]:
    return list(itertools.pairwise(line))


def enters(segment: Segment, box: Box) -> bool:
    """Whether a line runs through the inside of a box, and not only along or up to its edge."""
    (x1, y1), (x2, y2) = segment
    left, top, right, bottom = box
    inner = 1.5
    return (
        max(x1, x2) > left + inner
        and min(x1, x2) < right - inner
        and max(y1, y2) > top + inner
        and min(y1, y2) < bottom - inner
    )


@pytest.mark.parametrize("name", CASES)
def test_no_line_runs_through_a_box_and_none_leaves_the_picture(name: str) -> None:
    root = root_of(CASES[name])
    width, height = (float(root.attrib[key]) for key in ("width", "height"))
    shapes, drawn = boxes(root), lines(root)
    bars = [box for box in shapes if box[2] - box[0] <= 5]  # lines pass straight into these
    assert shapes
    for line in drawn:
        assert all(0 < x < width and 0 < y < height for x, y in line)
        for segment in segments(line):
            assert [box for box in shapes if box not in bars and enters(segment, box)] == []


@pytest.mark.parametrize("name", CASES)
def test_boxes_do_not_overlap_and_every_edge_has_its_line(name: str) -> None:
    root = root_of(CASES[name])
    graph = graph_of(trace_cell(CASES[name]))
    assert len(lines(root)) == len(set(graph.edges)) == len(graph.edges)
    inner = graph.of_kind(NodeKind.BOX, NodeKind.FUNCTION, NodeKind.OPERATOR, NodeKind.JOIN)
    shapes = boxes(root)
    assert len(shapes) == len(inner)
    for (l1, t1, r1, b1), (l2, t2, r2, b2) in itertools.combinations(shapes, 2):
        assert r1 < l2 or r2 < l1 or b1 < t2 or b2 < t1


@pytest.mark.parametrize("name", CASES)
def test_lines_cross_squarely_and_never_run_on_each_other(name: str) -> None:
    for first, second in itertools.combinations(lines(root_of(CASES[name])), 2):
        for a, b in itertools.product(segments(first), segments(second)):
            assert not overlap(a, b), (a, b)


def overlap(a: Segment, b: Segment) -> bool:
    """Whether two segments run on the same line for more than a corner's length."""
    for along, across in ((0, 1), (1, 0)):
        if all(abs(point[across] - a[0][across]) < 1 for point in (*a, *b)):
            low = max(min(point[along] for point in a), min(point[along] for point in b))
            high = min(max(point[along] for point in a), max(point[along] for point in b))
            return high - low > 7
    return False


def test_the_checks_see_a_line_in_a_box_and_lines_on_each_other() -> None:
    assert enters(((0, 10), (40, 10)), (10, 0, 30, 20))
    assert not enters(((0, 20), (40, 20)), (10, 0, 30, 20))
    assert not enters(((0, 10), (10, 10)), (10, 0, 30, 20))
    assert overlap(((0, 10), (40, 10)), ((20, 10), (60, 10)))
    assert not overlap(((0, 10), (40, 10)), ((20, 0), (20, 60)))


def edges_of(cell: Cell) -> set[tuple[str, str]]:
    """The edges between what is drawn, each node as its text and label."""
    graph = graph_of(trace_cell(cell))
    names = {key: re.sub(r"[\ue000\ue001]", "", node.label or node.text or "bar") for key, node in graph.nodes.items()}
    return {(names[source], names[target]) for source, target in graph.edges}


def test_the_edges_of_a_gru_whose_reset_gate_acts_before_the_product() -> None:
    assert edges_of(GRU) == {
        ("ht−1", "bar"), ("xt", "bar"), ("bar", "rt"), ("bar", "zt"),
        ("rt", "×"), ("ht−1", "×"), ("×", "nt"), ("xt", "nt"),
        ("zt", "×"), ("zt", "1−"), ("1−", "×"), ("nt", "×"), ("×", "+"), ("+", "ht"),
    }  # fmt: skip


def test_the_edges_of_a_gru_whose_reset_gate_acts_after_the_product() -> None:
    graph = graph_of(trace_cell(GRU(reset="after")))
    (product,) = [node for node in graph.nodes.values() if node.text == "linear"]
    assert graph.sources(product.key) == ["in h"]
    (times,) = graph.targets(product.key)
    assert graph.nodes[times].text == "×"
    assert sorted(graph.sources(times)) == sorted(["r", product.key])
    assert sorted(graph.sources("n")) == sorted(["x", times])


def test_peepholes_reach_the_gates() -> None:
    graph = graph_of(trace_cell(cells.get("lstm_peephole")))
    assert "in c" in graph.sources("i")
    assert "in c" in graph.sources("f")
    assert "c'" in graph.sources("o")
    assert "in c" not in graph.sources("g")


def test_a_normalised_sum_is_one_box() -> None:
    graph = graph_of(trace_cell(gw.layer_norm(GRU)))
    assert [node.text for node in graph.of_kind(NodeKind.FUNCTION)] == ["norm"] * 3


@gw.cell
def stranger(x, h, c, W, U, b):
    """What is subtracted and what is divided by is to be told from the rest."""
    left = gw.exp(W.l @ x + U.l @ h - b.l)
    c = c / (1 + left) - left * c
    return gw.where(left < 0.5, c, h), c


def test_operands_that_are_not_symmetric_are_told_apart() -> None:
    edges = edges_of(stranger)
    assert ("1/", "×") in edges
    assert ("−", "+") in edges or ("−", "ct") in edges
    assert ("lt", "+1") in edges or ("leftt", "+1") in edges


def test_the_notes_say_what_gates_do() -> None:
    text = "".join(root_of(GRU).itertext())
    assert "zt near 1 keeps the old state." in text
    assert "zt near 1 replaces the old state." in "".join(root_of(cells.get("mingru")).itertext())
    assert "it scales what is added to the state." in "".join(root_of(LSTM).itertext())
    assert "Bar: ht−1 and xt side by side" in text


def test_a_diagram_has_a_title_a_description_and_the_equation_of_each_box() -> None:
    root = root_of(GRU)
    title, description = root.findall(f"{SVG}title")[0], root.findall(f"{SVG}desc")[0]
    assert root.attrib["aria-labelledby"] == f"{title.attrib['id']} {description.attrib['id']}"
    assert title.text == "Gated recurrent unit (GRU)"
    assert "zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)" in (description.text or "")
    told = [text.text for text in root.iter(f"{SVG}title")]
    assert "nₜ = tanh(W_n xₜ + U_n (rₜ ⊙ hₜ₋₁) + b_n)" in told
    assert 'stroke="currentColor"' in gw.diagram(GRU).svg


def test_a_layer_and_a_trace_have_the_diagram_of_their_cell() -> None:
    pytest.importorskip("torch")
    layer = gw.nn.GRU(3, 4)
    assert boxes(root_of(GRU(reset="after"))) == boxes(ElementTree.fromstring(gw.diagram(layer).svg))
    assert boxes(root_of(GRU)) == boxes(ElementTree.fromstring(gw.diagram(trace_cell(GRU)).svg))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RNN", {}),
        ("RNN", {"nonlinearity": "relu"}),
        ("GRU", {}),
        ("GRU", {"num_layers": 2, "bidirectional": True}),
        ("LSTM", {}),
        ("LSTM", {"proj_size": 2}),
        ("RNNCell", {"nonlinearity": "relu"}),
        ("GRUCell", {}),
        ("LSTMCell", {}),
    ],
)
def test_a_layer_of_torch_has_the_diagram_of_its_drop_in(kind: str, options: dict[str, Any], bias: bool) -> None:
    torch = pytest.importorskip("torch")
    layer = getattr(torch.nn, kind)(3, 4, bias=bias, **options)
    drawn, expected = gw.diagram(layer), gw.diagram(getattr(gw.nn, kind)(3, 4, bias=bias, **options))
    shown = [[element.text for element in ElementTree.fromstring(one.svg).iter()][2:] for one in (drawn, expected)]
    assert shown[0] == shown[1]
    assert boxes(ElementTree.fromstring(drawn.svg)) == boxes(ElementTree.fromstring(expected.svg))
    derived = type("Own", (type(layer),), {})(3, 4, bias=bias, **options)
    assert gw.diagram(derived).svg == drawn.svg


def test_a_name_is_that_of_a_cell_of_the_catalogue_and_other_things_have_no_diagram() -> None:
    assert gw.diagram("gru") == gw.diagram(GRU)
    with pytest.raises(OptionError, match="the catalogue has no cell 'gruu'"):
        gw.diagram("gruu")
    with pytest.raises(
        OptionError,
        match="list has no diagram\n  expected: a cell, the name of one, a Trace, or a recurrent layer of gw.nn",
    ):
        gw.diagram([])  # pyright: ignore[reportArgumentType]


def test_a_notebook_shows_a_diagram() -> None:
    drawn = gw.diagram(GRU)
    assert drawn._repr_svg_() == drawn.svg  # pyright: ignore[reportPrivateUsage]
    assert repr(drawn) == "Diagram(title='Gated recurrent unit (GRU)')"


HOSTILE = '</svg><script>alert("x")</script> & \'$\\frac{}$ ]]> --> \x1b[31m \u202e\x00\ud800\uffff'


def test_hostile_names_are_text() -> None:
    cell = replace(GRU, name=HOSTILE, about=replace(GRU.about, title=HOSTILE))
    trace = renamed(trace_cell(cell), {"r": HOSTILE, "z": "\ue000<&\ue001" + 300 * "é", "n": "d(<b>)"})
    for drawn in (gw.diagram(cell), gw.diagram(trace)):
        root = ElementTree.fromstring(drawn.svg.encode())
        assert [element for element in root.iter() if "script" in element.tag] == []
        assert "<script" not in drawn.svg
    width = float(root_of(GRU).attrib["width"])
    assert float(ElementTree.fromstring(gw.diagram(trace).svg).attrib["width"]) < width + 2000


def test_a_gradient_and_a_cell_that_is_too_large_are_refused() -> None:
    with pytest.raises(OptionError, match="a gradient has no diagram"):
        gw.diagram(vjp(trace_cell(GRU)))

    @gw.cell
    def large(x, h, W, U, b):
        for number in range(100):
            h = gw.tanh(W[f"g{number}"] @ x + U[f"g{number}"] @ h) * h
        return h

    with pytest.raises(OptionError, match="the cell is too large to be drawn: "):
        gw.diagram(large)


def test_a_cell_with_many_crossing_lines_is_refused_soon() -> None:
    """Its boxes are few enough, but a search for its lines without a limit took hours."""

    @gw.cell
    def crossing(x, h, W, U, b):
        gates = [gw.sigmoid(W[f"g{number}"] @ x + U[f"g{number}"] @ h + b[f"g{number}"]) for number in range(50)]
        return h * sum(gates[1:], start=gates[0])

    with pytest.raises(OptionError, match="or fewer where many lines cross"):
        gw.diagram(crossing)
    html = crossing._repr_html_()
    assert html is not None
    assert "<svg" not in html


def test_a_diagram_is_written_as_a_whole(tmp_path: Path) -> None:
    drawn = gw.diagram(LSTM)
    path = drawn.save(tmp_path / "lstm.svg")
    assert path.read_text(encoding="utf-8") == drawn.svg
    assert [file.name for file in tmp_path.iterdir()] == ["lstm.svg"]
    with pytest.raises(OptionError, match="a diagram is an SVG file"):
        drawn.save(tmp_path / "lstm.png")
    with pytest.raises(WriteError, match="cannot be written"):
        drawn.save(tmp_path / "nowhere" / "lstm.svg")


@pytest.mark.parametrize("name", ["gru", "lstm_peephole", "layer_norm_gru"])
def test_golden_files(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"svg/{name}.svg", gw.diagram(CASES[name]).svg)


def test_the_picture_in_the_documents_is_up_to_date() -> None:
    """To write it anew: gatewright show gru --diagram docs/gru.svg."""
    assert (ROOT / "docs" / "gru.svg").read_text(encoding="utf-8") == gw.diagram(GRU).svg
