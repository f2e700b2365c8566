from __future__ import annotations

import csv
import os

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.classifier import Classifier
from caffe_lite.io import array_to_blobproto

cv2 = pytest.importorskip("cv2")

DEPLOY = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: {channels} dim: 4 dim: 4 }} }} }}
layer {{ name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param {{ pool: AVE global_pooling: true }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "mean" top: "ip" inner_product_param {{ num_output: 3 }} }}
layer {{ name: "prob" type: "Softmax" bottom: "ip" top: "prob" }}
"""


@pytest.fixture
def model(folder):
    """Make a net that finds which of blue, green and red is strongest, pictures in these colours, and labels."""
    (folder / "deploy.prototxt").write_text(DEPLOY.format(channels=3))
    net = Net(folder / "deploy.prototxt", TEST, engine="numpy")
    net.params["ip"][0].data[...] = np.eye(3) / 50
    net.save(folder / "deploy.caffemodel")
    for index, name in enumerate(("blue", "green", "red")):
        image = np.full((8, 8, 3), 20, np.uint8)
        image[:, :, index] = 200
        cv2.imwrite(str(folder / f"{name}.png"), image)
    (folder / "labels.txt").write_text("n01 blue, azure\nn02 green\nn03 red\n\n")
    return ("deploy.prototxt", "deploy.caffemodel")


def probabilities(blue, green, red):
    scores = np.exp(np.array([blue, green, red]) / 50)
    return scores / scores.sum()


def test_the_best_labels_of_each_image(caffe, model):
    result = caffe("classify", *model, "red.png", "blue.png", "--labels", "labels.txt", "--top", "2")
    assert result.returncode == 0, result.stderr
    best, other = sorted(probabilities(200, 20, 20), reverse=True)[:2]
    assert result.stdout.splitlines() == [
        "---------- Prediction for red.png ----------",
        f'{best:.4f} - "n03 red"',
        f'{other:.4f} - "n01 blue, azure"',
        "---------- Prediction for blue.png ----------",
        f'{best:.4f} - "n01 blue, azure"',
        f'{other:.4f} - "n02 green"',
    ]


@pytest.mark.parametrize("mean", ["values", "npy", "binaryproto"])
def test_scales_means_and_the_order_of_channels(caffe, folder, model, mean):
    image = np.ones((3, 2, 2)) * np.array([10, 20, 30])[:, None, None]
    np.save(folder / "mean.npy", image)
    (folder / "mean.binaryproto").write_bytes(array_to_blobproto(image[None]).SerializeToString())
    given = "10,20,30" if mean == "values" else f"mean.{mean}"
    words = ["--mean", given, "--raw-scale=100", "--input_scale", "2", "--channel-swap", "0,1,2", "--output", "o.npy"]
    result = caffe("classify", *model, "red.png", *words)
    assert result.returncode == 0, result.stderr
    r, g, b = 2 * (np.array([200, 20, 20]) / 255 * 100 - [10, 20, 30])
    np.testing.assert_allclose(np.load(folder / "o.npy"), [probabilities(r, g, b)], rtol=1e-5)


@pytest.mark.parametrize("center", [True, False])
def test_ten_crops_or_the_center(caffe, folder, model, center):
    images = np.random.default_rng(0).random((3, 9, 7, 3), np.float32)
    np.save(folder / "images.npy", images)
    words = ["--images-dim", "6,6", "--output", "o.npy", *(["--center_only"] if center else [])]
    result = caffe("classify", *model, "images.npy", *words)
    assert result.returncode == 0, result.stderr
    assert "Prediction for images.npy[2] -" in result.stdout
    net = Classifier(
        *(str(folder / file) for file in model),
        image_dims=(6, 6),
        raw_scale=255,
        channel_swap=(2, 1, 0),
        engine="numpy",
    )
    np.testing.assert_allclose(np.load(folder / "o.npy"), net.predict(images, not center), rtol=1e-5)


def test_a_folder_and_a_table(caffe, folder, model):
    result = caffe("classify", *model, ".", "--ext", "png", "--labels", "labels.txt", "--output", "o.csv")
    assert result.returncode == 0, result.stderr
    with open(folder / "o.csv", newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    assert head == ["image", "n01 blue, azure", "n02 green", "n03 red"]
    assert [row[0] for row in rows] == ["blue.png", "green.png", "red.png"]
    np.testing.assert_allclose(np.array(rows[1][1:], float), probabilities(20, 200, 20), rtol=1e-5)


def test_a_net_for_gray_images(caffe, folder, model):
    (folder / "gray.prototxt").write_text(DEPLOY.format(channels=1))
    Net(folder / "gray.prototxt", TEST, engine="numpy").save(folder / "gray.caffemodel")
    result = caffe("classify", "gray.prototxt", "gray.caffemodel", "red.png", "--mean", "5")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1:] == [f'0.3333 - "{index}"' for index in range(3)]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere.png"], 1, "the image 'nowhere.png' cannot be read: No such file"),
        (["net.prototxt"], 1, "the image 'net.prototxt' cannot be read"),
        (["train_lmdb"], 1, "no image in it ends with .jpg. Give its ending"),
        (["nowhere.npy"], 1, "nowhere.npy: this file cannot be used: No such file"),
        (["scalar.npy"], 1, "scalar.npy: this file cannot be used: an array of shape (). Images are N, H, W, C"),
        (["bomb.npy"], 1, "bomb.npy: this file cannot be used: "),
        (["short.npy"], 1, "short.npy: this file cannot be used: "),
        (["objects.npy"], 1, "objects.npy: this file cannot be used: "),
        (["packed.npz"], 1, "the image 'packed.npz' cannot be read"),
        (["red.png", "--mean", "bomb.npy"], 1, "bomb.npy: this file cannot be used: "),
        (["large.png"], 1, "the image 'large.png' cannot be read: its image is 65536 x 65536 (H x W): more than 268"),
        (["red.png", "--labels", "nowhere.txt"], 1, "nowhere.txt: this file cannot be used: No such file"),
        (["red.png", "--labels", "net.prototxt"], 1, "labels in it, the net knows 3 classes"),
        (["red.png", "--mean", "1,2"], 1, "Mean channels incompatible"),
        (["red.png", "--mean", "nowhere.binaryproto"], 1, "there is no mean 'nowhere.binaryproto'"),
        (["red.png", "--mean", "scalar.npy"], 1, "A mean is of shape C, or C, H, W"),
        (["red.png", "--channel-swap", "0,1"], 1, "Channel swap (0, 1)"),
        (["red.png", "--channel-swap", "a"], 2, "'a' is not whole numbers"),
        (["red.png", "--images-dim", "256"], 2, "'256' is not a height and a width"),
        (["red.png", "--images-dim", "2,2"], 1, "image_dims (2, 2) are smaller"),
        (["red.png", "--output", "o.xlsx"], 1, "o.xlsx: a file of what format?"),
    ],
)
def test_errors(caffe, folder, model, words, status, message):
    np.save(folder / "scalar.npy", np.array(3.0))
    np.save(folder / "objects.npy", np.array([None]))
    np.savez(folder / "packed.npz", np.zeros((1, 8, 8, 3)))
    np.save(folder / "short.npy", np.zeros((10, 8, 8, 3)))
    os.truncate(folder / "short.npy", 5000)
    with open(folder / "bomb.npy", "wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<f8", "fortran_order": False, "shape": (2**20, 2**20, 8, 3)}
        )
    (folder / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\2\0\0\0")
    result = caffe("classify", *model, *words)
    assert result.returncode == status
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
