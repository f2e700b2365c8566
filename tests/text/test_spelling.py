from __future__ import annotations

import pytest

from caffe_lite.layer import layer_type_list
from caffe_lite.text.spelling import nearest, nearest_few

TYPES = layer_type_list()


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("kernel_sise", ["kernel_size", "kernel_h"], "kernel_size"),
        ("Kernel_Size", ["kernel_size", "kernel_h"], "kernel_size"),
        ("rmsprop", ["SGD", "RMSProp"], "RMSProp"),
        ("kernel_size", ["crop_size", "mirror"], None),  # 0.6 of both is the same
        ("gamma", ["power"], None),
        ("gamma", [], None),
        ("", ["power"], None),
    ],
)
def test_one_word_is_told_only_if_it_is_much_like_it(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant


def test_capitals_alone_make_no_other_word_likely() -> None:
    assert nearest_few("Relu", TYPES) == ["ReLU"]
    assert nearest_few("relu", ["relu1", "RELU", "ReLU"]) == ["RELU", "ReLU"]
    assert nearest("relu", ["relu1", "RELU", "ReLU"]) == "RELU"


def test_of_several_words_some_may_be_less_like_it() -> None:
    assert nearest_few("Softsing", ["Split", "Pooling", "Softmax"]) == ["Softmax", "Pooling"]
    assert nearest_few("crop_sise", ["kernel_size", "mirror", "crop_size"]) == ["crop_size", "kernel_size"]
    assert len(nearest_few("conv", ["conv1", "conv2", "conv3", "conv4"])) == 3
    assert nearest_few("zzz", TYPES) == []


@pytest.mark.parametrize("place", range(4))
def test_one_slip_in_any_layer_type_finds_it(place: int) -> None:
    for name in TYPES:
        assert name in nearest_few(name[:place] + "q" + name[place:], TYPES)
