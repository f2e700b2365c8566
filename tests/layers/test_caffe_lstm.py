from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net

STEPS, STREAMS, INPUTS, SIZE = 3, 2, 4, 2
CLIP = np.array([0, 0, 1, -2, 0, 1.0])


def net_of(engine, more="", clip=CLIP, rows=STEPS * STREAMS, size=SIZE, **kw):
    bottoms = [Bottom((rows, INPUTS, 1))]
    if clip is not None:
        bottoms.append(Bottom((len(clip), 1), lambda rng: clip.reshape(-1, 1)))
    layer = f'type: "Lstm" lstm_param {{ num_output: {size} batch_size: {STREAMS} {more} }}'
    return make_layer_net(layer, bottoms, engine=engine, **kw)


def by_hand(net, clip, state):
    """Return the outputs, one row and stream after the other, and the states behind them."""
    of_x, of_h, bias = (blob.data for blob in net.params["under_test"])
    outputs = []
    for row, x in enumerate(net.blobs["x0"].data.reshape(-1, INPUTS)):
        h, c = state[row % STREAMS] if clip[row] else (np.zeros(SIZE), np.zeros(SIZE))
        i, f, o, g = np.split(of_x @ x + of_h @ h + bias, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        state[row % STREAMS] = o * np.tanh(c), c
        outputs.append(state[row % STREAMS][0])
    return np.array(outputs)


def test_states_go_on_where_clip_says_so(engine) -> None:
    net, state = net_of(engine, phase=TEST), [(np.zeros(SIZE), np.zeros(SIZE))] * STREAMS
    for clip in (CLIP, np.ones(6)):
        net.blobs["x1"].data[...] = clip.reshape(-1, 1)
        net.forward()
        np.testing.assert_allclose(net.blobs["y0"].data, by_hand(net, clip, state), rtol=1e-9)
    resumed = net_of(engine, clip=np.ones(6), phase=TEST)
    resumed.restore_state(net.state())
    resumed.forward()
    np.testing.assert_allclose(resumed.blobs["y0"].data, by_hand(resumed, np.ones(6), state), rtol=1e-9)


def test_without_clip_each_pass_starts_anew(engine) -> None:
    net = net_of(engine, clip=None)
    for _ in range(2):
        net.forward()
        wanted = by_hand(net, [0, 0, 1, 1, 1, 1], [None] * STREAMS)
        np.testing.assert_allclose(net.blobs["y0"].data, wanted, rtol=1e-9)


@pytest.mark.parametrize("clip", [None, CLIP])
def test_gradients_of_several_streams(clip, engine) -> None:
    check(net_of(engine, clip=clip))


def test_it_is_lstm_with_other_blobs(engine) -> None:
    net = net_of(engine)
    steps, cont = Bottom((STEPS, STREAMS, INPUTS)), Bottom((STEPS, STREAMS))
    other = make_layer_net('type: "LSTM" recurrent_param { num_output: 2 }', [steps, cont], engine=engine)
    of_x, of_h, bias = net.params["under_test"]
    for blob, wanted in zip(other.params["under_test"], (of_x, bias, of_h), strict=True):
        blob.data[...] = wanted.data
    other.blobs["x0"].data[...] = net.blobs["x0"].data.reshape(STEPS, STREAMS, INPUTS)
    other.blobs["x1"].data[...] = (CLIP != 0).reshape(STEPS, STREAMS)
    for each in (net, other):
        each.forward()
        each.blobs["y0"].diff[...] = np.arange(12).reshape(each.blobs["y0"].shape)
        each.backward()
    np.testing.assert_allclose(net.blobs["y0"].data.ravel(), other.blobs["y0"].data.ravel(), rtol=1e-12)
    np.testing.assert_allclose(net.blobs["x0"].diff.ravel(), other.blobs["x0"].diff.ravel(), rtol=1e-9)
    np.testing.assert_allclose(of_h.diff, other.params["under_test"][2].diff, rtol=1e-9)


def test_gradients_are_clipped_before_they_go_on(engine) -> None:
    net = net_of(engine, "clipping_threshold: 0.25", clip=np.array([0, 0, 1, 1]), rows=4)
    net.forward()
    net.blobs["y0"].diff[...] = dy = np.array([[0.1, 3], [-9, 0], [1, -1], [0.01, 40]])
    net.backward()
    of_x, of_h, bias = (blob.data for blob in net.params["under_test"])
    x = net.blobs["x0"].data.reshape(4, INPUTS)
    d_gates = np.zeros((4, 4 * SIZE))
    for n in range(STREAMS):
        steps, h, c = [], np.zeros(SIZE), np.zeros(SIZE)
        for row in (n, n + STREAMS):
            i, f, o, g = np.split(of_x @ x[row] + of_h @ h + bias, 4)
            i, f, o, g = *(1 / (1 + np.exp(-gate)) for gate in (i, f, o)), np.tanh(g)
            steps.append((row, i, f, o, g, c))
            c = f * c + i * g
            h = o * np.tanh(c)
        dh, dc = np.zeros(SIZE), np.zeros(SIZE)
        for row, i, f, o, g, before in reversed(steps):
            after = np.tanh(f * before + i * g)
            dh = dh + dy[row]
            dc = dc + dh * o * (1 - after**2)
            gates = dc * g * i * (1 - i), dc * before * f * (1 - f), dh * after * o * (1 - o), dc * i * (1 - g**2)
            d_gates[row] = np.clip(np.concatenate(gates), -0.25, 0.25)
            dh, dc = d_gates[row] @ of_h, dc * f
    assert (abs(d_gates) == 0.25).sum() == 4
    np.testing.assert_allclose(net.blobs["x0"].diff.reshape(4, INPUTS), d_gates @ of_x, rtol=1e-9)
    np.testing.assert_allclose(net.params["under_test"][2].diff, d_gates.sum(0), rtol=1e-9)


@pytest.mark.parametrize(
    ("kw", "what"),
    [
        ({"size": 0}, "num_output is 0 and batch_size is 2"),
        ({"rows": 5}, "the bottom has 5 rows for 2 streams"),
        ({"rows": 4}, "the bottoms have the shapes (4, 4, 1) and (6, 1)"),
    ],
)
def test_what_is_refused(kw, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        net_of(engine, **kw)
    assert what in str(error.value)
