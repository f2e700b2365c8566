"""A layered layout of boxes and the wires between them (Sugiyama, Tagawa, Toda 1981), in any direction.

Boxes stand in ranks. ``across`` runs along a rank, ``along`` from rank to rank; the caller turns both into x and y.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SPACE = 22.0  # between boxes of one rank
BEND = 9.0  # the width that a wire takes in a rank that it passes
GAP, STEEPEST_GAP = 26.0, 90.0  # between ranks: larger where wires go far to the side
ORDERINGS, SETTLINGS = 24, 8
LONG = 5  # ranks: the longer a wire is, the more it gives way to boxes

Point = tuple[float, float]


@dataclass
class Box:
    """A box to place. ``ports`` are the places where wires leave it: the width that each takes of the edge."""

    width: float  # across
    depth: float  # along
    ports: Sequence[float] = ()
    # Results of the layout: the centre across, the beginning along, and the ports' distances from the centre.
    across: float = 0.0
    along: float = 0.0
    port_offsets: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Wire:
    """A wire from a port of one box to a later box."""

    tail: int
    port: int
    head: int


@dataclass
class Layout:
    """The placed boxes and, for each wire, the points between which it runs straight, curved, straight, and so on."""

    boxes: list[Box]
    wires: list[list[Point]]
    width: float
    depth: float


@dataclass
class _Vertex:
    """A box, or the bend where a wire passes a rank."""

    rank: int
    width: float
    box: Box | None = None
    weight: float = 1.0  # how firmly it keeps its place where there is no room
    across: float = 0.0
    place: int = 0  # in its rank
    before: list[_Link] = field(default_factory=list)
    after: list[_Link] = field(default_factory=list)


@dataclass
class _Link:
    """The part of a wire between two neighbouring ranks."""

    start: _Vertex
    end: _Vertex
    port: int = 0
    start_offset: float = 0.0
    end_offset: float = 0.0


def layout(boxes: list[Box], wires: Sequence[Wire]) -> Layout:
    """Place the boxes and route the wires around them. Every wire goes from a box to one later in the list."""
    for box in boxes:
        box.width = max(box.width, sum(box.ports))
    vertices = [
        _Vertex(rank, box.width + SPACE, box) for rank, box in zip(_ranks(len(boxes), wires), boxes, strict=True)
    ]
    ways = _connect(vertices, wires)
    ranks = _ordered(vertices)
    _attach(vertices)
    _settle(ranks)
    return _placed(boxes, ranks, ways)


def _ranks(count: int, wires: Sequence[Wire]) -> list[int]:
    """Rank each box one below the lowest box that it reads, or right above its first reader if it reads none."""
    ranks = [0] * count
    readers: dict[int, list[int]] = defaultdict(list)
    for wire in sorted(wires, key=lambda wire: wire.head):
        ranks[wire.head] = max(ranks[wire.head], ranks[wire.tail] + 1)
        readers[wire.tail].append(wire.head)
    for source in set(readers) - {wire.head for wire in wires}:
        ranks[source] = min(ranks[head] for head in readers[source]) - 1
    return ranks


def _connect(vertices: list[_Vertex], wires: Sequence[Wire]) -> list[list[_Link]]:
    """Make the links of each wire. Wires from one port run together as long as they can."""
    bends: dict[tuple[int, int, int], _Vertex] = {}
    links: dict[tuple[int, int], _Link] = {}
    longest: dict[tuple[int, int], int] = defaultdict(int)
    for wire in wires:
        length = vertices[wire.head].rank - vertices[wire.tail].rank
        longest[wire.tail, wire.port] = max(length, longest[wire.tail, wire.port])
    ways = []
    for wire in wires:
        start, head, way = vertices[wire.tail], vertices[wire.head], []
        for rank in range(start.rank + 1, head.rank + 1):
            end = head
            if rank < head.rank:
                key = (wire.tail, wire.port, rank)
                if key not in bends:
                    bends[key] = _Vertex(rank, BEND, weight=min(1.0, LONG / longest[wire.tail, wire.port]) ** 2)
                    vertices.append(bends[key])
                end = bends[key]
            link = links.get((id(start), id(end))) if end.box is None else None
            if link is None:
                link = links[id(start), id(end)] = _Link(start, end, wire.port)
                start.after.append(link)
                end.before.append(link)
            way.append(link)
            start = end
        ways.append(way)
    return ways


def _ordered(vertices: list[_Vertex]) -> list[list[_Vertex]]:
    """Order the vertices of each rank with few crossings: each sweep sorts them by the mean place of neighbours."""
    ranks: list[list[_Vertex]] = [[] for _ in range(1 + max((vertex.rank for vertex in vertices), default=-1))]
    for vertex in _depth_first(vertices):
        ranks[vertex.rank].append(vertex)
    _number(ranks)
    best, fewest = [list(rank) for rank in ranks], _crossings(ranks)
    for sweep in range(ORDERINGS):
        if not fewest:
            break
        down = sweep % 2 == 0
        for rank in ranks if down else reversed(ranks):
            rank.sort(key=_mean_place_before if down else _mean_place_after)
            _number([rank])
        if (crossings := _crossings(ranks)) < fewest:
            best, fewest = [list(rank) for rank in ranks], crossings
    _number(best)
    return best


def _depth_first(vertices: list[_Vertex]) -> list[_Vertex]:
    seen: dict[int, _Vertex] = {}
    stack = [vertex for vertex in reversed(vertices) if not vertex.before]
    while stack:
        vertex = stack.pop()
        if id(vertex) not in seen:
            seen[id(vertex)] = vertex
            stack += [link.end for link in reversed(vertex.after)]
    return list(seen.values())


def _number(ranks: list[list[_Vertex]]) -> None:
    for rank in ranks:
        for place, vertex in enumerate(rank):
            vertex.place = place


def _mean_place_before(vertex: _Vertex) -> float:
    places = [link.start.place for link in vertex.before]
    return sum(places) / len(places) if places else vertex.place


def _mean_place_after(vertex: _Vertex) -> float:
    places = [link.end.place for link in vertex.after]
    return sum(places) / len(places) if places else vertex.place


def _crossings(ranks: list[list[_Vertex]]) -> int:
    count = 0
    for rank in ranks:
        ends: list[int] = []
        for start in rank:
            places = sorted(link.end.place for link in start.after)
            count += sum(len(ends) - bisect_left(ends, place + 1) for place in places)
            for place in places:
                insort(ends, place)
    return count


def _attach(vertices: list[_Vertex]) -> None:
    """Set where the links meet the boxes, in the order of the places they lead to."""
    for vertex in vertices:
        if vertex.box is None:
            continue
        box, ends = vertex.box, defaultdict(list)
        for link in vertex.after:
            ends[link.port].append(link.end.place)
        box.port_offsets = [0.0] * len(box.ports)
        offset = -sum(box.ports) / 2
        for port in sorted(range(len(box.ports)), key=lambda port: sum(ends[port]) / len(ends[port] or [0])):
            box.port_offsets[port] = offset + box.ports[port] / 2
            offset += box.ports[port]
        for link in vertex.after:
            link.start_offset = box.port_offsets[link.port]
    for vertex in vertices:
        if vertex.box is not None:
            step = min(28.0, vertex.box.width / (len(vertex.before) + 1))
            before = sorted(vertex.before, key=lambda link: (link.start.place, link.start_offset))
            for index, link in enumerate(before):
                link.end_offset = step * (index - (len(before) - 1) / 2)


def _settle(ranks: list[list[_Vertex]]) -> None:
    """Find ``across``, rank after rank, with each vertex as near to the middle of its neighbours as room allows.

    The last sweep goes downwards, which leaves chains straight.
    """
    for rank in ranks:
        _place_rank(rank, [0.0] * len(rank))
    for _ in range(SETTLINGS):
        for rank in reversed(ranks):
            _place_rank(rank, [_above(vertex) for vertex in rank])
        for rank in ranks:
            _place_rank(rank, [_below(vertex) for vertex in rank])


def _below(vertex: _Vertex) -> float:
    """Return the place at which the links from the previous rank are straight, on average."""
    wanted = [
        (link.start.across + link.start_offset - link.end_offset, min(link.start.weight, vertex.weight))
        for link in vertex.before
    ]
    return _mean(wanted) if wanted else vertex.across


def _above(vertex: _Vertex) -> float:
    wanted = [
        (link.end.across + link.end_offset - link.start_offset, min(link.end.weight, vertex.weight))
        for link in vertex.after
    ]
    return _mean(wanted) if wanted else vertex.across


def _mean(weighted: list[tuple[float, float]]) -> float:
    return sum(at * weight for at, weight in weighted) / sum(weight for _, weight in weighted)


def _place_rank(rank: list[_Vertex], wanted: list[float]) -> None:
    """Place a rank nearest to the places wanted, by least squares, in order and apart (pool adjacent violators)."""
    shifts = [0.0]
    for left, right in pairwise(rank):
        shifts.append(shifts[-1] + (left.width + right.width) / 2)
    pools: list[tuple[float, float, int]] = []  # place, weight, number of vertices
    for vertex, at, shift in zip(rank, wanted, shifts, strict=True):
        pool = (at - shift, vertex.weight, 1)
        while pools and pools[-1][0] > pool[0]:
            last = pools.pop()
            pool = (_mean([last[:2], pool[:2]]), last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    places = [at for at, _, count in pools for _ in range(count)]
    for vertex, place, shift in zip(rank, places, shifts, strict=True):
        vertex.across = place + shift


def _placed(boxes: list[Box], ranks: list[list[_Vertex]], ways: list[list[_Link]]) -> Layout:
    left = min((vertex.across - vertex.width / 2 for rank in ranks for vertex in rank), default=0.0)
    begins, ends, along = [], [], 0.0
    for rank in ranks:
        begins.append(along)
        ends.append(along + max(vertex.box.depth if vertex.box else 0.0 for vertex in rank))
        sideways = (abs(_start(link) - _end(link)) for vertex in rank for link in vertex.after)
        along = ends[-1] + min(STEEPEST_GAP, GAP + 0.08 * max(sideways, default=0.0))
        for vertex in rank:
            vertex.across -= left
            if vertex.box is not None:
                vertex.box.across, vertex.box.along = vertex.across, begins[-1]
    wires = []
    for way in ways:
        box = way[0].start.box
        assert box is not None
        points = [(_start(way[0]), box.along + box.depth)]
        for link in way:
            points += [(_start(link), ends[link.start.rank]), (_end(link), begins[link.end.rank])]
        wires.append(points)
    width = max((vertex.across + vertex.width / 2 for rank in ranks for vertex in rank), default=0.0)
    return Layout(boxes, wires, width, ends[-1] if ends else 0.0)


def _start(link: _Link) -> float:
    return link.start.across + link.start_offset


def _end(link: _Link) -> float:
    return link.end.across + link.end_offset
