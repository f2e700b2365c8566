from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

MAPS = Bottom((2, 3, 9, 10))


def net_of(engine, param, kind="Correlation", maps=(MAPS, MAPS)):
    return make_layer_net(f'type: "{kind}" correlation_param {{ {param} }}', maps, engine=engine)


def by_hand(a, b, steps_y, steps_x, kernel, reach, pad, stride, subtract):
    """Return the top, one place after the other; ``reach`` and ``pad``: down, across."""
    around = ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1]))
    beyond = ((0, 0), (0, 0), (0, 0), (9, 9))
    a, b = np.pad(a, around), np.pad(np.pad(b, around), beyond)
    height, width = (
        int(np.ceil((side - 2 * (r + (kernel - 1) // 2)) / stride)) for side, r in zip(a.shape[2:], reach, strict=True)
    )
    top = np.zeros((len(a), len(steps_y) * len(steps_x), height, width))
    for n, channel, y, x in np.ndindex(top.shape):
        down, across = steps_y[channel // len(steps_x)], steps_x[channel % len(steps_x)]
        y1, x1 = y * stride + reach[0], x * stride + reach[1]
        one = a[n, :, y1 : y1 + kernel, x1 : x1 + kernel]
        other = b[n, :, y1 + down : y1 + down + kernel, 9 + x1 + across : 9 + x1 + across + kernel]
        top[n, channel, y, x] = np.mean(abs(one - other) if subtract else one * other)
    return top


@pytest.mark.parametrize("kind", ["MULTIPLY", "SUBTRACT"])
@pytest.mark.parametrize(
    ("reach", "kernel", "pad", "stride_1", "stride_2"),
    [(2, 1, 2, 1, 1), (3, 3, 4, 2, 2), (2, 1, 0, 2, 1), (5, 3, 6, 3, 2)],
)
def test_each_displacement(reach, kernel, pad, stride_1, stride_2, kind, engine) -> None:
    net = net_of(
        engine,
        f"max_displacement: {reach} kernel_size: {kernel} pad: {pad} stride_1: {stride_1} stride_2: {stride_2} "
        f"correlation_type: {kind}",
    )
    net.forward()
    steps = [s * stride_2 for s in range(-(reach // stride_2), reach // stride_2 + 1)]
    a, b = (net.blobs[f"x{i}"].data for i in range(2))
    wanted = by_hand(a, b, steps, steps, kernel, (reach, reach), (pad, pad), stride_1, kind == "SUBTRACT")
    np.testing.assert_allclose(net.blobs["y0"].data, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("direction", "steps"), [(0, [-4, -2, 0, 2, 4]), (1, [0, 2, 4]), (-1, [-6, -4, -2])])
def test_across_alone(direction, steps, engine) -> None:
    param = f"max_displacement: 4 kernel_size: 3 pad: 4 stride_2: 2 single_direction: {direction}"
    net = net_of(engine, param, "Correlation1D")
    net.forward()
    a, b = (net.blobs[f"x{i}"].data for i in range(2))
    wanted = by_hand(a, b, [0], steps, 3, (0, 4), (0, 4), 1, False)
    np.testing.assert_allclose(net.blobs["y0"].data, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("param", "maps", "what"),
    [
        ("kernel_size: 2 max_displacement: 1", [MAPS, MAPS], "kernel_size is 2. Give an odd number"),
        ("kernel_size: 1", [MAPS, MAPS], "max_displacement is not given"),
        ("kernel_size: 1 max_displacement: 1 stride_2: 0", [MAPS, MAPS], "stride_1 is 1 and stride_2 is 0"),
        ("kernel_size: 3 max_displacement: 4", [MAPS, MAPS], "no room for max_displacement 4 and kernel_size 3"),
        ("kernel_size: 1 max_displacement: 1", [MAPS, Bottom((2, 3, 9, 9))], "(2, 3, 9, 10) and (2, 3, 9, 9)"),
    ],
)
def test_what_is_refused(param, maps, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        net_of(engine, param, maps=maps)
    assert what in str(error.value)
