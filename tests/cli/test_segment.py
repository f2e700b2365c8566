from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.data.images.label_image import decode_label_image

cv2 = pytest.importorskip("cv2")

# Looks at squares of 4 x 4 pixels: blue ones are of class 1, red ones of class 2.
NET = """
layer {{
  name: "data" type: "Input" top: "data" {transform}
  input_param {{ shape {{ dim: 1 dim: 3 dim: 16 dim: 24 }} }}
}}
layer {{
  name: "cells" type: "Pooling" bottom: "data" top: "cells" pooling_param {{ pool: AVE kernel_size: 4 stride: 4 }}
}}
layer {{
  name: "score" type: "Convolution" bottom: "cells" top: "score" convolution_param {{ num_output: 3 kernel_size: 1 }}
}}
"""
ARGMAX = """
layer { name: "label" type: "ArgMax" bottom: "score" top: "label" argmax_param { axis: 1 } }
"""
BLUE, RED, GREY = (220, 20, 20), (20, 20, 250), (40, 40, 40)
# In B, G, R
VOC = {0: (0, 0, 0), 1: (0, 0, 128), 2: (0, 128, 0)}


def labels(height=16, width=24):
    """Return labels with a square of class 1 and a band of class 2."""
    values = np.zeros((height, width), np.uint8)
    values[: height // 2, width // 3 : width // 3 * 2] = 1
    values[height // 4 * 3 :] = 2
    return values


def picture(height=16, width=24):
    return np.array([GREY, BLUE, RED], np.uint8)[labels(height, width)]


def make(folder, text, name="seg"):
    (folder / f"{name}.prototxt").write_text(text)
    net = Net(folder / f"{name}.prototxt", TEST, engine="numpy")
    if "score" in net.params:
        weights, bias = net.params["score"]
        weights.data[...] = np.array([(0, 0, 0), (1, 0, 0), (0, 0, 1)])[:, :, None, None]
        bias.data[...] = [0, -100, -100]
    net.save(folder / f"{name}.caffemodel")
    return ("segment", f"{name}.prototxt", f"{name}.caffemodel")


@pytest.fixture
def seg(folder):
    cv2.imwrite(str(folder / "scene.png"), picture())
    return make(folder, NET.format(transform=""))


def run(caffe, *words):
    result = caffe(*words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def colors(folder, *path):
    return cv2.imread(str(folder.joinpath(*path)))


def test_shares_of_classes_with_their_names(caffe, folder, seg):
    assert run(caffe, *seg, "scene.png") == "scene.png: 0 58.3%, 2 25.0%, 1 16.7%\n"
    (folder / "names.txt").write_text("background\nsky\n")
    assert run(caffe, *seg, "scene.png", "--labels", "names.txt") == "scene.png: background 58.3%, 2 25.0%, sky 16.7%\n"


def test_colour_maps_are_labels_too(caffe, folder, seg):
    cv2.imwrite(str(folder / "large.jpg"), picture(64, 96), [cv2.IMWRITE_JPEG_QUALITY, 100])
    run(caffe, *seg, "scene.png", "large.jpg", "--out", "maps")
    assert sorted(path.name for path in (folder / "maps").iterdir()) == ["large.png", "scene.png"]
    for name, size in (("scene", (16, 24)), ("large", (64, 96))):
        file = folder / "maps" / f"{name}.png"
        np.testing.assert_array_equal(decode_label_image(file.read_bytes()), labels(*size))
        np.testing.assert_array_equal(cv2.imread(str(file)), np.array(list(VOC.values()))[labels(*size)])


def test_overlays(caffe, folder, seg):
    (folder / "colors.txt").write_text("0 0 0\n10 200 30\n255 255 0\n")
    run(caffe, *seg, "scene.png", "--overlay", "over", "--opacity", "0.25", "--palette", "colors.txt")
    mixed = 0.75 * picture() + 0.25 * np.array([(0, 0, 0), (30, 200, 10), (0, 255, 255)])[labels()]
    expected = np.where(labels()[:, :, None] > 0, np.rint(mixed), picture())
    np.testing.assert_array_equal(colors(folder, "over", "scene.png"), expected)


def test_a_folder_and_a_video(caffe, folder, seg):
    (folder / "media").mkdir()
    cv2.imwrite(str(folder / "media" / "a.png"), picture())
    video = cv2.VideoWriter(str(folder / "media" / "b.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (96, 64))
    if not video.isOpened():
        pytest.skip("this OpenCV writes no videos")
    for _ in range(2):
        video.write(picture(64, 96))
    video.release()
    lines = run(caffe, *seg, "media", "--out", "maps", "--overlay", "over").splitlines()
    assert [line.split(":")[0] for line in lines] == ["media/a.png", "media/b.avi[0]", "media/b.avi[1]"]
    for each in ("maps", "over"):
        assert sorted(path.name for path in (folder / each).iterdir()) == ["a.png", "b.mp4"]
        made = cv2.VideoCapture(str(folder / each / "b.mp4"))
        frames = []
        while (frame := made.read()[1]) is not None:
            frames.append(frame)
        assert [frame.shape for frame in frames] == [(64, 96, 3)] * 2
    # Class 1 is dark red in VOC's colours.
    assert np.abs(colors(folder, "maps", "a.png")[4, 12].astype(int) - (0, 0, 128)).max() == 0


def test_the_size_that_the_net_sees(caffe, folder, seg):
    """At its own size, an image has more cells: a blue pixel of them is enough."""
    image = picture(64, 96)
    image[60:64, 0:4] = BLUE
    cv2.imwrite(str(folder / "detail.png"), image)
    expected = labels(64, 96)
    expected[60:64, 0:4] = 1
    for words in (["--as-it-is"], ["--size", "64,96"]):
        run(caffe, *seg, "detail.png", "--out", "maps", *words)
        np.testing.assert_array_equal(decode_label_image((folder / "maps" / "detail.png").read_bytes()), expected)


def test_the_nets_transform_param_and_options_before_it(caffe, folder, seg):
    command = make(folder, NET.format(transform="transform_param { mean_value: 500 }"), "dark")
    assert run(caffe, *command, "scene.png") == "scene.png: 0 100.0%\n"
    assert run(caffe, *command, "scene.png", "--mean", "0") == run(caffe, *seg, "scene.png")
    assert run(caffe, *seg, "scene.png", "--channel-order", "rgb") == "scene.png: 0 58.3%, 1 25.0%, 2 16.7%\n"


def test_a_net_that_ends_with_labels(caffe, folder, seg):
    command = make(folder, NET.format(transform="") + ARGMAX, "argmax")
    assert run(caffe, *command, "scene.png") == run(caffe, *seg, "scene.png")
    assert run(caffe, *command, "scene.png", "--blob", "score") == run(caffe, *seg, "scene.png")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere.png"], 1, "nowhere.png: the image cannot be read: No such file"),
        (["scene.png", "--palette", "bad.txt"], 1, "bad.txt: the palette cannot be used: line 2 is '1 2 256'"),
        (["scene.png", "--palette", "two.txt", "--out", "x"], 1, "has 2 colours, and an image has the label 2"),
        (["scene.png", "--out", "x", "--overlay", "x"], 1, "two of the files would be the same one"),
        (["scene.png", "--opacity", "2"], 2, "'2' is not a number from 0 to 1"),
    ],
)
def test_errors(caffe, folder, seg, words, status, message):
    (folder / "bad.txt").write_text("1 2 3\n1 2 256\n")
    (folder / "two.txt").write_text("1 2 3\n4 5 6\n")
    result = caffe(*seg, *words)
    assert result.returncode == status
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
