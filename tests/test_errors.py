"""The messages of errors, and that errors survive a trip through another process."""

import pickle

import pytest

from caffe_lite.errors import CaffeError, LayerError, MissingExtra, PrototxtError, Where

WHERE = Where("lenet.prototxt", 12, 5)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CaffeError("it broke"), "it broke."),
        (PrototxtError("it is empty", where=Where("a.prototxt")), "a.prototxt: it is empty."),
        (
            LayerError("no outputs", where=WHERE, layer="conv1", layer_type="Convolution", hint="Set num_output"),
            'lenet.prototxt:12:5, layer "conv1" (Convolution): no outputs. Set num_output.',
        ),
        (LayerError("no name", layer=""), 'layer "": no name.'),
        (LayerError("no", layer="a\nb\33[2J", layer_type="R\0"), r'layer "a\nb\x1b[2J" (R\x00): no.'),
        (LayerError("no name", where=WHERE, layer_type="ReLU"), "lenet.prototxt:12:5, a layer of type ReLU: no name."),
        (CaffeError("is it here?", hint="Write ':'"), "is it here? Write ':'"),
        (
            MissingExtra("lmdb", "data", "write LMDB databases"),
            (
                "lmdb is needed to write LMDB databases and is not installed. "
                "Install it with: pip install 'caffe-lite[data]'"
            ),
        ),
    ],
)
def test_text(error: CaffeError, text: str):
    assert str(error) == text
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), text, vars(error))


def test_a_place_is_filled_in_once():
    error = LayerError("no outputs", layer="conv1")
    assert error.located(WHERE, "other", "Convolution") is error
    assert str(error) == 'lenet.prototxt:12:5, layer "conv1" (Convolution): no outputs.'
