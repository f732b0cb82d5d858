"""A layout with its lines as an SVG text."""

from collections.abc import Iterator, Sequence

from gatewright.drawing import math_text
from gatewright.drawing.math_text import safe
from gatewright.drawing.nodes import CellGraph, DiagramNode, NodeKind
from gatewright.drawing.place import BAR, FONT, RADIUS, SMALL_FONT, UNIT, DiagramLayout
from gatewright.drawing.route import Route, Shape

Place = tuple[float, float]  # in pixels
_HEAD, _CORNER, _LINE_HEIGHT = 7.0, 6.0, 20
_STYLE = "svg:root{color:#1c1c1c;color-scheme:light dark}@media (prefers-color-scheme:dark){svg:root{color:#e8e8e8}}"
_FONTS = "'STIX Two Text','Latin Modern Roman','Cambria','Times New Roman','Liberation Serif',serif"
_FILLS = {NodeKind.BOX: "#e6a817", NodeKind.FUNCTION: "#3f8fd2", NodeKind.OPERATOR: "#d1495b"}


def written(
    graph: CellGraph,
    layout: DiagramLayout,
    routes: Sequence[Route],
    bold: set[tuple[str, str]],
    title: str,
    description: str,
    notes: Sequence[str],
    identifier: str,
) -> str:
    """The SVG; `bold` are the edges of state lines, `notes` the lines of text under the frame."""
    longest = max((math_text.width(note, SMALL_FONT) for note in notes), default=0.0)
    width = max(layout.width * UNIT, int(longest) + 5 * UNIT)
    height = layout.height * UNIT + _LINE_HEIGHT * len(notes) + (UNIT if notes else 0)
    left, top, right, bottom = (UNIT * edge for edge in layout.frame)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="{identifier}-title {identifier}-desc" fill="none" stroke="currentColor" '
        'style="max-width:100%;height:auto">'
    )
    frame = (
        f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" rx="16" '
        'fill="currentColor" fill-opacity="0.035" stroke-opacity="0.45" stroke-width="1.2"/>'
    )
    parts = [
        opening,
        f'<title id="{identifier}-title">{safe(title)}</title>',
        f'<desc id="{identifier}-desc">{safe(description)}</desc>',
        f"<style>{_STYLE}</style>",
        frame,
        *(line for route in routes for line in _route(route, layout.shapes, (route.source, route.target) in bold)),
        f'<g font-family="{_FONTS}" font-size="{FONT}" text-anchor="middle" stroke="none" fill="currentColor">',
        *(part for key, shape in layout.shapes.items() for part in _node(graph.nodes[key], shape)),
        *_notes(notes, left, layout.height * UNIT + _LINE_HEIGHT // 2),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _notes(notes: Sequence[str], x: int, y: int) -> Iterator[str]:
    for index, note in enumerate(notes):
        yield (
            f'<text x="{x}" y="{y + _LINE_HEIGHT * index}" text-anchor="start" font-size="{SMALL_FONT}">'
            f"{math_text.tspans(note, SMALL_FONT)}</text>"
        )


def _node(node: DiagramNode, shape: Shape) -> Iterator[str]:
    x, y = shape.x * UNIT, shape.y * UNIT
    if shape.port:
        yield _port(node, shape, x, y)
        return
    if node.kind is NodeKind.JOIN:
        yield (
            f'<rect x="{x - BAR / 2}" y="{y - shape.half_height * UNIT}" width="{BAR}" '
            f'height="{2 * shape.half_height * UNIT}" rx="2"/>'
        )
        return
    half, text = shape.half_width * UNIT, math_text.tspans(node.text, FONT)
    yield f"<g><title>{safe(node.equation)}</title>" if node.equation else "<g>"
    fill = _FILLS.get(node.kind)
    frame = f'fill="{fill}" fill-opacity="0.28" stroke="currentColor" stroke-width="1.3"'
    if node.kind is NodeKind.OPERATOR and shape.inset:
        yield f'<circle cx="{x}" cy="{y}" r="{RADIUS}" {frame}/>'
    elif fill:
        corner = 4 if node.kind is NodeKind.BOX else UNIT
        yield f'<rect x="{x - half}" y="{y - UNIT}" width="{2 * half}" height="{2 * UNIT}" rx="{corner}" {frame}/>'
    yield f'<text x="{x}" y="{y + 0.33 * FONT:.1f}">{text}</text>'
    if node.label:
        yield (
            f'<text x="{x + 5}" y="{y - UNIT - 7}" text-anchor="start" font-size="{SMALL_FONT}">'
            f"{math_text.tspans(node.label, SMALL_FONT)}</text>"
        )
    yield "</g>"


def _port(node: DiagramNode, shape: Shape, x: int, y: int) -> str:
    text = math_text.tspans(node.text, FONT)
    if shape.port == "up":
        return f'<text x="{x}" y="{y + 1.7 * UNIT:.1f}">{text}</text>'
    anchor, shift = ("end", -8) if shape.port == "right" else ("start", 16)
    return f'<text x="{x + shift}" y="{y + 0.33 * FONT:.1f}" text-anchor="{anchor}">{text}</text>'


def _route(route: Route, shapes: dict[str, Shape], bold: bool) -> Iterator[str]:
    points = [(x * UNIT * 1.0, y * UNIT * 1.0) for x, y in route.points]
    source, target = shapes[route.source], shapes[route.target]
    if not route.branches:
        points[0] = _moved(points[0], points[1], source.inset, backwards=True)
    head = 0.0 if target.inset > _HEAD else _HEAD  # no arrowheads at a bar
    sideways = points[-1][1] == points[-2][1]
    points[-1] = _moved(points[-1], points[-2], target.inset if sideways or head else 0.0, backwards=True)
    if target.port == "left":
        points[-1] = _moved(points[-1], points[-2], 10, backwards=True)
    tip = points[-1]
    points[-1] = _moved(tip, points[-2], head)
    width = 2.6 if bold else 1.5
    yield f'<path d="{_rounded(points)}" stroke-width="{width}" stroke-linejoin="round"/>'
    if head:
        yield _arrowhead(points[-1], tip)
    if route.branches:
        x, y = route.points[0]
        yield f'<circle cx="{x * UNIT}" cy="{y * UNIT}" r="3.2" fill="currentColor" stroke="none"/>'


def _moved(point: Place, towards: Place, by: float, backwards: bool = False) -> Place:
    """A point moved along the line to another one."""
    dx, dy = towards[0] - point[0], towards[1] - point[1]
    length = abs(dx) + abs(dy)
    by = -by if backwards else by
    return (point[0] + by * dx / length, point[1] + by * dy / length)


def _arrowhead(base: Place, tip: Place) -> str:
    dx, dy = tip[0] - base[0], tip[1] - base[1]
    side = (-dy * 0.55, dx * 0.55)
    corners = [tip, (base[0] + side[0], base[1] + side[1]), (base[0] - side[0], base[1] - side[1])]
    return f'<path d="M{" L".join(_at(corner) for corner in corners)} Z" fill="currentColor" stroke="none"/>'


def _rounded(points: Sequence[Place]) -> str:
    """A line with round corners."""
    path = f"M{_at(points[0])}"
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        a = _moved(corner, before, min(_CORNER, _length(before, corner) / 2))
        b = _moved(corner, after, min(_CORNER, _length(corner, after) / 2))
        path += f" L{_at(a)} Q{_at(corner)} {_at(b)}"
    return f"{path} L{_at(points[-1])}"


def _length(a: Place, b: Place) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _at(point: Place) -> str:
    return f"{point[0]:g},{point[1]:g}"
