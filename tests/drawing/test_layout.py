from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.drawing.layout import Box, Wire, layout


@st.composite
def graphs(draw) -> tuple[list[Box], list[Wire]]:
    sizes = st.floats(20, 200)
    boxes = [
        Box(draw(sizes), draw(sizes), [draw(st.floats(20, 90)) for _ in range(draw(st.integers(1, 3)))])
        for _ in range(draw(st.integers(1, 14)))
    ]
    wires = []
    for head in range(1, len(boxes)):
        for tail in draw(st.lists(st.integers(0, head - 1), max_size=3)):
            wires.append(Wire(tail, draw(st.integers(0, len(boxes[tail].ports) - 1)), head))
    return boxes, wires


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_nothing_overlaps(graph):
    boxes, wires = graph
    placed = layout(boxes, wires)
    for index, box in enumerate(placed.boxes):
        assert box.across - box.width / 2 >= -1e-6
        assert box.across + box.width / 2 <= placed.width + 1e-6
        assert box.along + box.depth <= placed.depth + 1e-6
        for other in placed.boxes[:index]:
            beside = abs(box.across - other.across) >= (box.width + other.width) / 2 - 1e-6
            assert beside or box.along >= other.along + other.depth or other.along >= box.along + box.depth
    for wire, points in zip(wires, placed.wires, strict=True):
        tail, head = placed.boxes[wire.tail], placed.boxes[wire.head]
        assert points[0] == (tail.across + tail.port_offsets[wire.port], tail.along + tail.depth)
        assert points[-1][1] == head.along
        assert abs(points[-1][0] - head.across) <= head.width / 2
        # Straight parts may not pass through a box; curves run only where there is no box.
        for (x, begin), (_, end) in zip(points[2:-1:2], points[3:-1:2], strict=True):
            for box in placed.boxes:
                passes = box.along < end and begin < box.along + box.depth
                assert not passes or abs(x - box.across) >= box.width / 2
        for (_, begin), (_, end) in zip(points[1::2], points[2::2], strict=True):
            assert begin < end
            assert not any(box.along < end - 1e-6 and begin + 1e-6 < box.along + box.depth for box in placed.boxes)


def test_a_chain_is_straight():
    boxes = [Box(width, 30, [20]) for width in (80, 40, 120, 60)]
    placed = layout(boxes, [Wire(index, 0, index + 1) for index in range(3)])
    assert len({round(box.across, 6) for box in placed.boxes}) == 1
    assert [box.along for box in placed.boxes] == sorted(box.along for box in placed.boxes)


def test_a_source_stands_above_its_reader():
    boxes = [Box(40, 20, [20]) for _ in range(5)]
    placed = layout(boxes, [Wire(0, 0, 1), Wire(1, 0, 2), Wire(2, 0, 4), Wire(3, 0, 4)])
    assert placed.boxes[3].along == placed.boxes[2].along


def test_wires_that_need_not_cross_do_not():
    # Two chains whose ends are given in the opposite order.
    boxes = [Box(40, 20, [20]) for _ in range(6)]
    wires = [Wire(0, 0, 3), Wire(1, 0, 2), Wire(2, 0, 5), Wire(3, 0, 4)]
    placed = [box.across for box in layout(boxes, wires).boxes]
    assert (placed[0] < placed[1]) == (placed[3] < placed[2]) == (placed[4] < placed[5])


def test_no_boxes():
    assert layout([], []).wires == []
