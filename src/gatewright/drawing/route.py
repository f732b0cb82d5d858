"""Lines between the nodes of a diagram: the cheapest way on a grid, around boxes, and across other lines only squarely.

Each line is found by A* over places and directions. A way costs its length, its bends and its crossings. Lines of one
source are a tree: a further line begins wherever on the tree it is cheapest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

Point = tuple[int, int]
Direction = int  # an index of _STEPS
RIGHT, DOWN, LEFT, UP = range(4)
Ends = dict[tuple[Point, Direction], float]
"""Where lines may start or end: the place, the direction of the line there, and a cost."""
_STEPS: tuple[Point, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))
_BEND, _CROSSING, _NEAR, _BRANCH, _SECOND_PIN = 2.0, 4.0, 1.0, 0.5, 5.0
_HORIZONTAL, _VERTICAL = 1, 2


class NoWayError(Exception):
    """There is no room for a line. Inner: the layout is made wider."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A node on the grid: its centre, half its width and height, and the places that its label takes on its right.

    A `port` is a point of the frame with one line: "right" where lines start to the right, "up" where they start
    upwards, "left" where they arrive from the left.
    """

    x: int
    y: int
    half_width: int = 0
    half_height: int = 0
    label: int = 0
    port: str = ""
    inset: float = 0.0  # pixels between the end of a line on the grid and what is drawn
    is_bar: bool = False  # lines leave it on its right only
    is_box: bool = False  # lines enter it from below rather than from a side

    def body(self) -> Iterator[Point]:
        """The places that the node covers."""
        for x in range(self.x - self.half_width, self.x + self.half_width + 1):
            for y in range(self.y - self.half_height, self.y + self.half_height + 1):
                yield x, y

    def label_places(self) -> Iterator[Point]:
        """The places that the label covers: above the node, on the right of a line that leaves upwards."""
        for x in range(self.x + 1, self.x + 1 + self.label):
            yield x, self.y - self.half_height - 1

    def exits(self) -> Ends:
        """Where lines may start, with the direction, and what it costs."""
        if self.port:
            return {((self.x, self.y), UP if self.port == "up" else RIGHT): 0.0}
        right = ((self.x + self.half_width, self.y), RIGHT)
        if self.is_bar:
            return {right: 0.0}
        return {
            right: 0.0,
            ((self.x, self.y - self.half_height), UP): 0.0,
            ((self.x, self.y + self.half_height), DOWN): 3.0,
        }

    def entrances(self) -> Ends:
        """Where lines may end, with the direction in which they arrive, and what it costs."""
        if self.port:
            return {((self.x, self.y), RIGHT): 0.0}
        sides: Ends = {
            ((self.x - self.half_width, self.y), RIGHT): 2.0 if self.is_box else 0.0,
            ((self.x, self.y - self.half_height), DOWN): 4.0 if self.is_box else 0.5,
        }
        if self.is_bar:
            for shift in range(1 - self.half_height, self.half_height):
                sides[(self.x - self.half_width, self.y + shift), RIGHT] = 0.0
        inner = max(self.half_width - 1, 0)
        for shift in range(-inner, inner + 1):
            sides[(self.x + shift, self.y + self.half_height), UP] = 0.2 * abs(shift)
        return sides


@dataclass(slots=True)
class Route:
    """One line: its source and target, and its corners. `branches` where it begins on another line of the source."""

    source: str
    target: str
    points: list[Point]
    branches: bool


class SearchLimitError(Exception):
    """Finding the lines of a diagram takes more places than may be looked at."""


@dataclass(slots=True)
class SearchLimit:
    """How many places may still be looked at for a diagram, in all attempts together.

    A count, not a time: whether a cell can be drawn is the same on every machine.
    """

    left: int

    def take(self) -> None:
        """Look at one more place. Raises SearchLimitError where none is left."""
        self.left -= 1
        if self.left < 0:
            raise SearchLimitError


@dataclass(slots=True)
class Router:
    """Finds lines one after the other; each keeps out of the way of those before it."""

    frame: tuple[int, int, int, int]  # left, top, right and bottom: lines stay inside
    shapes: dict[str, Shape]
    limit: SearchLimit
    routes: list[Route] = field(default_factory=list[Route])
    cost: float = 0.0
    _blocked: set[Point] = field(default_factory=set[Point])
    _near: set[Point] = field(default_factory=set[Point])
    _lines: dict[Point, dict[str, int]] = field(default_factory=dict[Point, dict[str, int]])
    _ends: dict[Point, str] = field(default_factory=dict[Point, str])

    def __post_init__(self) -> None:
        for shape in self.shapes.values():
            self._blocked.update(shape.body())
            self._blocked.update(shape.label_places())
            self._near.update((x + dx, y + dy) for x, y in shape.body() for dx in (-1, 0, 1) for dy in (-1, 0, 1))

    def connect(self, source: str, target: str) -> None:
        """Add the line between two nodes.

        Raises NoWayError where there is no room for it.
        """
        ends = {
            end: cost
            for end, cost in self.shapes[target].entrances().items()
            if end[0] not in self._ends and not self._lines.get(end[0])
        }
        starts = self._starts(source)
        points, cost = self._search(source, starts, ends)
        branches = source in self._lines.get(points[0], {})
        self.cost += cost
        self.routes.append(Route(source, target, _corners(points), branches))
        self._ends[points[-1]] = target
        self._ends.setdefault(points[0], source)
        for index, point in enumerate(points):
            masks = self._lines.setdefault(point, {})
            for other in points[max(index - 1, 0) : index] + points[index + 1 : index + 2]:
                masks[source] = masks.get(source, 0) | (_HORIZONTAL if other[1] == point[1] else _VERTICAL)

    def _starts(self, source: str) -> Ends:
        """Every place where a line of a source may begin: its sides, or its lines so far."""
        tree = [point for point, masks in self._lines.items() if source in masks]
        known = {route.target for route in self.routes if route.source == source}
        starts = {
            start: cost + (_SECOND_PIN if tree else 0.0)
            for start, cost in self.shapes[source].exits().items()
            if start[0] not in self._ends and not self._lines.get(start[0])
        }
        for point in tree:
            if len(self._lines[point]) > 1 or self._ends.get(point) in known | {source}:
                continue  # a crossing, or the end of a line
            starts.update({(point, direction): _BRANCH for direction in range(4)})
        return starts

    def _search(
        self,
        source: str,
        starts: Ends,
        ends: Ends,
    ) -> tuple[list[Point], float]:
        if not ends or not starts:
            raise NoWayError
        goal_xs, goal_ys = zip(*(point for point, _ in ends), strict=True)
        low_x, high_x, low_y, high_y = min(goal_xs), max(goal_xs), min(goal_ys), max(goal_ys)

        def least(point: Point) -> float:
            x, y = point
            return max(low_x - x, x - high_x, 0) + max(low_y - y, y - high_y, 0)

        heap: list[tuple[float, float, Point, Direction]] = []
        best: Ends = {}
        before: dict[tuple[Point, Direction], tuple[Point, Direction]] = {}
        for start, cost in starts.items():
            best[start] = cost
            heappush(heap, (cost + least(start[0]), cost, *start))
        while heap:
            self.limit.take()
            _, cost, point, direction = heappop(heap)
            state = (point, direction)
            if cost > best[state]:
                continue
            if state in ends and state in before:
                return _walked(before, state), cost
            for new, extra in self._moves(source, point, direction, state in starts, ends):
                total = cost + extra
                if total < best.get(new, float("inf")):
                    best[new], before[new] = total, state
                    heappush(heap, (total + least(new[0]), total, *new))
        raise NoWayError

    def _moves(
        self,
        source: str,
        point: Point,
        direction: Direction,
        is_start: bool,
        ends: Ends,
    ) -> Iterator[tuple[tuple[Point, Direction], float]]:
        """One step ahead, then any turn that the place allows."""
        x, y = point
        dx, dy = _STEPS[direction]
        new = (x + dx, y + dy)
        if (new, direction) in ends:
            yield (new, direction), 1 + ends[new, direction]
            return
        left, top, right, bottom = self.frame
        if new in self._blocked or not (left < new[0] < right and top < new[1] < bottom):
            return
        mask = _HORIZONTAL if dx else _VERTICAL
        others = self._lines.get(new, {})
        cost = 1.0 + (_NEAR if new in self._near and not is_start else 0.0)
        if source in others:
            return  # its own tree: a line that begins there is cheaper
        if others:
            if len(others) > 1 or new in self._ends or next(iter(others.values())) & mask or sum(others.values()) > 2:
                return
            yield (new, direction), cost + _CROSSING
            return
        yield (new, direction), cost
        for turned in ((direction + 1) % 4, (direction + 3) % 4):
            yield (new, turned), cost + _BEND


def _walked(
    before: dict[tuple[Point, Direction], tuple[Point, Direction]], state: tuple[Point, Direction]
) -> list[Point]:
    points = [state[0]]
    while state in before:
        state = before[state]
        points.append(state[0])
    return points[::-1]


def _corners(points: list[Point]) -> list[Point]:
    """A way without the places that it passes straight."""
    kept = [points[0]]
    for a, b, c in zip(points, points[1:], points[2:], strict=False):
        if (b[0] - a[0], b[1] - a[1]) != (c[0] - b[0], c[1] - b[1]):
            kept.append(b)
    return [*kept, points[-1]]


def routed(router: Router, edges: Iterable[tuple[str, str]]) -> Router:
    """All lines, in order.

    Raises NoWayError where one has no room.
    """
    for source, target in edges:
        router.connect(source, target)
    return router
