from __future__ import annotations

import json

import numpy as np
import pytest

from caffe_lite import TEST, Net

cv2 = pytest.importorskip("cv2")

# Looks at cells of 8 x 8 pixels: blue ones are of class 1, red ones of class 2. The prior boxes are the cells.
SSD = """
layer {{
  name: "data" type: "Input" top: "data" {transform}
  input_param {{ shape {{ dim: 1 dim: 3 dim: 32 dim: 32 }} }}
}}
layer {{
  name: "cells" type: "Pooling" bottom: "data" top: "cells" pooling_param {{ pool: AVE kernel_size: 8 stride: 8 }}
}}
layer {{
  name: "conf" type: "Convolution" bottom: "cells" top: "conf" convolution_param {{ num_output: 3 kernel_size: 1 }}
}}
layer {{
  name: "loc" type: "Convolution" bottom: "cells" top: "loc" convolution_param {{ num_output: 4 kernel_size: 1 }}
}}
layer {{
  name: "conf_perm" type: "Permute" bottom: "conf" top: "conf_perm"
  permute_param {{ order: 0 order: 2 order: 3 order: 1 }}
}}
layer {{ name: "prob" type: "Softmax" bottom: "conf_perm" top: "prob" softmax_param {{ axis: 3 }} }}
layer {{ name: "conf_flat" type: "Flatten" bottom: "prob" top: "conf_flat" }}
layer {{ name: "loc_flat" type: "Flatten" bottom: "loc" top: "loc_flat" }}
layer {{
  name: "priors" type: "PriorBox" bottom: "cells" bottom: "data" top: "priors" prior_box_param {{ min_size: 8 }}
}}
layer {{
  name: "found" type: "DetectionOutput" bottom: "loc_flat" bottom: "conf_flat" bottom: "priors" top: "found"
  detection_output_param {{ num_classes: 3 confidence_threshold: 0.01 nms_param {{ nms_threshold: 0.45 }} }}
}}
"""
# The same cells, as anchors of YOLO's versions 3 and 2: x, y, w, h, an objectness, and two classes.
YOLO = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "cells" type: "Pooling" bottom: "data" top: "cells" pooling_param { pool: AVE kernel_size: 8 stride: 8 } }
layer {
  name: "maps" type: "Convolution" bottom: "cells" top: "maps" convolution_param { num_output: 7 kernel_size: 1 }
}
"""
V3 = """layer {
  name: "found" type: "Yolov3DetectionOutput" bottom: "maps" top: "found"
  yolov3_detection_output_param {
    num_classes: 2 num_box: 1 mask_group_num: 1 biases: [8, 8] mask: 0 anchors_scale: 8
  }
}"""
V2 = """layer {
  name: "found" type: "YoloDetectionOutput" bottom: "maps" top: "found"
  yolo_detection_output_param { num_classes: 2 num_box: 1 biases: [1, 1] }
}"""
LABELS = """
item { name: "background" label: 0 }
item { name: "17" label: 1 display_name: "sky" }
item { name: "18" label: 2 display_name: "tomato" }
"""
# The regions are learned, and the deltas are biases.
RCNN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "im_info" type: "Input" top: "im_info" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "rois" type: "Parameter" top: "rois" parameter_param { shape { dim: 3 dim: 5 } } }
layer {
  name: "pool" type: "ROIPooling" bottom: "data" bottom: "rois" top: "pool"
  roi_pooling_param { pooled_h: 1 pooled_w: 1 spatial_scale: 1 }
}
layer { name: "score" type: "InnerProduct" bottom: "pool" top: "score" inner_product_param { num_output: 3 } }
layer { name: "bbox_pred" type: "InnerProduct" bottom: "pool" top: "bbox_pred" inner_product_param { num_output: 12 } }
layer { name: "cls_prob" type: "Softmax" bottom: "score" top: "cls_prob" }
layer { name: "size" type: "Split" bottom: "im_info" top: "size" }
"""
# Boxes of two stages, and the probabilities of classes: those of the last stage, and their mean with the first stage's.
CASCADE = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 96 dim: 64 } } }
layer { name: "first" type: "Parameter" top: "output_bbox_1st" parameter_param { shape { dim: 2 dim: 5 } } }
layer { name: "boxes" type: "Parameter" top: "boxes" parameter_param { shape { dim: 2 dim: 5 dim: 1 dim: 1 } } }
layer {
  name: "pool" type: "ROIPooling" bottom: "data" bottom: "boxes" top: "pool"
  roi_pooling_param { pooled_h: 1 pooled_w: 1 spatial_scale: 1 }
}
layer { name: "score" type: "InnerProduct" bottom: "pool" top: "score" inner_product_param { num_output: 3 } }
layer { name: "1st" type: "Parameter" top: "cls_prob_1st" parameter_param { shape { dim: 2 dim: 3 } } }
layer { name: "2nd" type: "Softmax" bottom: "score" top: "cls_prob_2nd" }
layer {
  name: "average" type: "Eltwise" bottom: "cls_prob_1st" bottom: "cls_prob_2nd" top: "cls_prob_2nd_avg"
  eltwise_param { coeff: [0.5, 0.5] }
}
layer { name: "output" type: "Split" bottom: "boxes" top: "output_bbox_2nd" }
"""
BLUE, RED = (220, 20, 20), (20, 20, 250)
BACKGROUND = 40


def picture(height=32, width=32, cell=8):
    """Return a grey image with a blue and a red cell."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    image[:cell, cell : 2 * cell] = BLUE
    image[2 * cell : 3 * cell, :cell] = RED
    return image


def probability(b, r, label):
    scores = np.exp(np.array([0, (b - 150) / 20, (r - 150) / 20]))
    return (scores / scores.sum())[label]


@pytest.fixture
def ssd(folder):
    """Make the net, its weights, a label map and an image; return the beginning of the command."""
    (folder / "ssd.prototxt").write_text(SSD.format(transform=""))
    net = Net(folder / "ssd.prototxt", TEST, engine="numpy")
    weights, bias = net.params["conf"]
    weights.data[...] = np.array([(0, 0, 0), (1, 0, 0), (0, 0, 1)])[:, :, None, None] / 20
    bias.data[...] = [0, -7.5, -7.5]
    net.save(folder / "ssd.caffemodel")
    (folder / "labelmap.prototxt").write_text(LABELS)
    cv2.imwrite(str(folder / "000139.png"), picture())
    return ("detect", "ssd.prototxt", "ssd.caffemodel")


def found(result):
    assert result.returncode == 0, result.stderr
    return [(each["category_id"], each["bbox"]) for each in json.loads(result.stdout)]


def test_objects_with_their_names_the_best_first(caffe, ssd):
    result = caffe(*ssd, "000139.png", "--labels", "labelmap.prototxt")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"000139.png: tomato {probability(20, 250, 2):.4f}, 8.0 x 8.0 at 0.0, 16.0",
        f"000139.png: sky {probability(220, 20, 1):.4f}, 8.0 x 8.0 at 8.0, 0.0",
    ]


def test_the_log_tells_that_values_stay_as_they_are(caffe, ssd):
    what = "the net gets values from 0 to 255"
    assert what in caffe(*ssd, "000139.png").stderr
    assert what not in caffe(*ssd, "000139.png", "--mean", "1").stderr


def test_json(caffe, folder, ssd):
    cv2.imwrite(str(folder / "cat.png"), picture(64, 96, 16))
    (folder / "words.txt").write_text("background\nsky\ntomato\n")
    result = caffe(*ssd, "000139.png", "cat.png", "--labels", "labelmap.prototxt", "--json", "--threshold", "0.98")
    (only,) = json.loads(result.stdout)
    assert only.pop("score") == pytest.approx(probability(20, 250, 2), abs=1e-5)
    names = {"file_name": "000139.png", "category": "tomato"}
    assert only == {"image_id": 139, "category_id": 18, "bbox": [0, 16, 8, 8]} | names
    result = caffe(*ssd, "cat.png", "--labels", "words.txt", "--json", "--threshold", "0.1")
    first, *_ = json.loads(result.stdout)
    assert (first["image_id"], first["category_id"], first["category"]) == ("cat.png", 2, "tomato")


def test_boxes_are_in_pixels_of_the_image(caffe, folder, ssd):
    cv2.imwrite(str(folder / "large.png"), picture(64, 64, 16))
    assert found(caffe(*ssd, "large.png", "--json")) == [(2, [0, 32, 16, 16]), (1, [16, 0, 16, 16])]
    # At its own size, the cells of the net are quarters of those of the image.
    parts = found(caffe(*ssd, "large.png", "--json", "--size", "64,64"))
    assert sorted(parts) == sorted(
        [(1, [x, y, 8, 8]) for x in (16, 24) for y in (0, 8)] + [(2, [x, y, 8, 8]) for x in (0, 8) for y in (32, 40)]
    )


def test_the_nets_transform_param_and_options_before_it(caffe, folder, ssd):
    transform = """transform_param {
      mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.5 mirror: true crop_size: 3
      resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 32 width: 32 }
    }"""
    (folder / "padded.prototxt").write_text(SSD.format(transform=transform))
    cv2.imwrite(str(folder / "wide.png"), picture(32, 64, 16)[:32])
    command = ("detect", "padded.prototxt", "ssd.caffemodel", "wide.png", "--json", "--threshold", "0.001")
    result = caffe(*command)
    assert result.returncode == 0, result.stderr
    first, *_ = json.loads(result.stdout)
    # The image is shrunk to 16 x 32 and padded with 8 rows above and below: the blue cell is the second row's second.
    assert (first["category_id"], first["bbox"]) == (1, [16, 0, 16, 16])
    assert first["score"] == pytest.approx(probability((220 - 10) / 2, (20 - 30) / 2, 1), abs=1e-5)
    first, *_ = json.loads(caffe(*command, "--mean", "5", "--scale", "0.75").stdout)
    assert first["score"] == pytest.approx(probability(0.75 * 215, 0.75 * 15, 1), abs=1e-5)


@pytest.mark.parametrize("layer", [V3, V2], ids=["version 3", "version 2"])
def test_yolo(caffe, folder, ssd, layer):
    (folder / "yolo.prototxt").write_text(YOLO + layer)
    net = Net(folder / "yolo.prototxt", TEST, engine="numpy")
    weights, bias = net.params["maps"]
    weights.data[...] = 0
    weights.data[5:, :, 0, 0] = [(0.05, 0, -0.05), (-0.05, 0, 0.05)]
    weights.data[4, :, 0, 0] = [0.05, -0.1, 0.05]
    bias.data[...] = [0, 0, 0, 0, -6, 0, 0]
    net.save(folder / "yolo.caffemodel")
    cv2.imwrite(str(folder / "large.png"), picture(64, 64, 16))
    command = ("detect", "yolo.prototxt", "yolo.caffemodel", "large.png", "--json")
    assert found(caffe(*command, "--threshold", "0.8")) == [(2, [0, 32, 16, 16]), (1, [16, 0, 16, 16])]


def test_the_order_of_channels(caffe, ssd):
    assert found(caffe(*ssd, "000139.png", "--json", "--channel_order=rgb")) == [(1, [0, 16, 8, 8]), (2, [8, 0, 8, 8])]


def test_a_net_for_grey_images(caffe, folder, ssd):
    (folder / "grey.prototxt").write_text(SSD.format(transform="").replace("dim: 3 ", "dim: 1 "))
    net = Net(folder / "grey.prototxt", TEST, engine="numpy")
    net.params["conf"][0].data[...] = np.array([0, 0, 1])[:, None, None, None] / 20
    net.params["conf"][1].data[...] = [0, -9, -7.5]
    net.save(folder / "grey.caffemodel")
    image = picture()
    image[24:, 24:] = 255
    cv2.imwrite(str(folder / "white.png"), image)
    assert found(caffe("detect", "grey.prototxt", "grey.caffemodel", "white.png", "--json")) == [(2, [24, 24, 8, 8])]


def test_drawings_of_a_folder(caffe, folder, ssd):
    (folder / "images").mkdir()
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(folder / "images" / name), picture(128, 128, 32))
    cv2.imwrite(str(folder / "images" / "empty.bmp"), np.full((16, 16, 3), 9, np.uint8))
    result = caffe(*ssd, "images", "--out", "drawn")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"images/{name}" for name in ("a.png",) * 2 + ("b.jpg",) * 2] + [
        "images/empty.bmp"
    ]
    assert lines[-1].endswith(": nothing")
    assert sorted(path.name for path in (folder / "drawn").iterdir()) == ["a.png", "b.jpg", "empty.bmp"]
    drawn = cv2.imread(str(folder / "drawn" / "a.png"))
    changed = (drawn != picture(128, 128, 32)).any(2)
    assert changed[64:97, 0].all() and changed[96, :33].all()  # the box of the red cell
    assert not changed[70:90, 6:26].any() and not changed[100:, :].any()
    np.testing.assert_array_equal(cv2.imread(str(folder / "drawn" / "empty.bmp")), 9)
    np.testing.assert_array_equal(cv2.imread(str(folder / "images" / "a.png")), picture(128, 128, 32))


def test_a_video(caffe, folder, ssd):
    video = cv2.VideoWriter(str(folder / "12.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 64))
    if not video.isOpened():
        pytest.skip("this OpenCV writes no videos")
    for image in (picture(64, 64, 16), np.full((64, 64, 3), BACKGROUND, np.uint8), picture(64, 64, 16)):
        video.write(image)
    video.release()
    result = caffe(*ssd, "12.avi", "--out", "drawn", "--json")
    assert [label for label, _ in found(result)] == [2, 1, 2, 1]
    assert [each["image_id"] for each in json.loads(result.stdout)] == ["12.avi[0]"] * 2 + ["12.avi[2]"] * 2
    drawn = cv2.VideoCapture(str(folder / "drawn" / "12.mp4"))
    frames = []
    while (frame := drawn.read()[1]) is not None:
        frames.append(frame)
    assert len(frames) == 3 and frames[0].shape == (64, 64, 3)
    assert [path.name for path in (folder / "drawn").iterdir()] == ["12.mp4"]


def look_for_colours(net):
    net.params["score"][0].data[...] = np.array([(0, 0, 0), (1, 0, 0), (0, 0, 1)]) / 20
    net.params["score"][1].data[...] = [0, -7.5, -7.5]


def make_rcnn(folder, deltas, text=RCNN):
    """Make a net that sees images twice as large: two regions with the blue cell, and one with the red one."""
    (folder / "rcnn.prototxt").write_text(text.replace("num_output: 12", f"num_output: {np.size(deltas)}"))
    net = Net(folder / "rcnn.prototxt", TEST, engine="numpy")
    if "rois" in net.params:
        net.params["rois"][0].data[...] = [(0, 16, 0, 31, 15), (0, 14, 0, 31, 17), (0, 0, 32, 15, 47)]
    look_for_colours(net)
    if "bbox_pred" in net.params:
        net.params["bbox_pred"][1].data[...] = np.ravel(deltas)
    net.save(folder / "rcnn.caffemodel")
    cv2.imwrite(str(folder / "scene.png"), picture(32, 48))
    return ("detect", "rcnn.prototxt", "rcnn.caffemodel", "scene.png", "--json", "--size", "64,200")


def decoded(x1, y1, x2, y2, shift=0.0, widening=1.0):
    """Return the box x, y, width, height that py-faster-rcnn makes of a region of scene.png."""
    width, height = x2 - x1 + 1, y2 - y1 + 1
    centre = x1 + width / 2 + shift * width
    left, right = centre - widening * width / 2, centre + widening * width / 2
    left, right, top, bottom = max(left, 0), min(right, 47), max(y1, 0), min(y1 + height, 31)
    return pytest.approx([left, top, right - left + 1, bottom - top + 1], abs=0.01)


REGIONS = [(8, 0, 15.5, 7.5), (7, 0, 15.5, 8.5), (0, 16, 7.5, 23.5)]
STAY, MOVE = (0, 0, 0, 0), (0.25, 0, np.log(2), 0)


def test_regions(caffe, folder):
    command = make_rcnn(folder, [STAY, STAY, MOVE])
    red, *blue = found(caffe(*command, "--nms", "0.9"))
    assert red == (2, decoded(*REGIONS[2], 0.25, 2))
    assert blue in ([(1, decoded(*REGIONS[a])), (1, decoded(*REGIONS[b]))] for a, b in ((0, 1), (1, 0)))
    assert [label for label, _ in found(caffe(*command))] == [2, 1]


@pytest.mark.parametrize("deltas", [[MOVE], [STAY, MOVE]])
def test_regions_with_one_box_for_all_classes(caffe, folder, deltas):
    red, blue = found(caffe(*make_rcnn(folder, deltas)))
    assert red == (2, decoded(*REGIONS[2], 0.25, 2))
    assert blue in [(1, decoded(*region, 0.25, 2)) for region in REGIONS[:2]]


def test_no_regions(caffe, folder):
    command = make_rcnn(folder, [STAY, STAY, STAY])
    (folder / "rcnn.prototxt").write_text(RCNN.replace("dim: 3 dim: 5", "dim: 0 dim: 5"))
    Net(folder / "rcnn.prototxt", TEST, engine="numpy").save(folder / "rcnn.caffemodel")
    assert found(caffe(*command)) == []


def test_the_longer_side_of_an_image_has_a_limit(caffe, folder):
    command = make_rcnn(folder, [STAY, STAY, STAY])[:-1]
    boxes = found(caffe(*command, "640,96"))  # twice as large, as before
    assert boxes[0] == (2, decoded(*REGIONS[2]))


def test_the_sides_of_images_in_the_nets_transform_param(caffe, folder):
    sides = "transform_param { resize_param { height: 64 width: 200 } } input_param"
    command = make_rcnn(folder, [STAY, STAY, STAY], RCNN.replace("input_param", sides, 1))[:-2]
    assert found(caffe(*command))[0] == (2, decoded(*REGIONS[2]))


ROIS = 'layer { name: "rois" type: "Parameter" top: "rois" parameter_param { shape { dim: 3 dim: 5 } } }'
FAST = RCNN.replace(ROIS, ROIS.replace("Parameter", "Input").replace("parameter_param", "input_param"))
UNMOVED = "".join(line for line in FAST.splitlines(keepends=True) if "bbox_pred" not in line)
GIVEN = "ymin,xmin,ymax,xmax,filename\n0,8,7.5,15.5,scene.png\n16,0,23.5,7.5,scene.png\n"


def test_regions_that_another_program_has_found(caffe, folder):
    command = (*make_rcnn(folder, [MOVE], FAST), "--regions", "regions.csv")
    (folder / "regions.csv").write_text(GIVEN)
    red, blue = found(caffe(*command))
    assert red == (2, decoded(*REGIONS[2], 0.25, 2)) and blue == (1, decoded(*REGIONS[0], 0.25, 2))
    (folder / "regions.csv").write_text(GIVEN.replace("scene", "other"))
    result = caffe(*command)
    assert result.returncode == 1 and "there are no regions of 'scene.png'" in result.stderr.splitlines()[-1]


def test_regions_whose_boxes_stay(caffe, folder):
    command = make_rcnn(folder, [], UNMOVED)
    (folder / "regions.csv").write_text(GIVEN)
    assert found(caffe(*command, "--regions", "regions.csv")) == [(2, [0, 16, 8.5, 8.5]), (1, [8, 0, 8.5, 8.5])]


def test_a_cascade(caffe, folder):
    (folder / "cascade.prototxt").write_text(CASCADE)
    net = Net(folder / "cascade.prototxt", TEST, engine="numpy")
    look_for_colours(net)
    net.params["first"][0].data[...] = 1
    net.params["1st"][0].data[...] = [(0.5, 0.5, 0), (0.25, 0, 0.75)]
    # The net sees images of 32 x 48 as 64 x 96, its own sides.
    net.params["boxes"][0].data[...] = np.reshape([(0, 16, 0, 31, 15), (0, 0, 32, 15, 47)], (2, 5, 1, 1))
    net.save(folder / "cascade.caffemodel")
    cv2.imwrite(str(folder / "scene.png"), picture(32, 48))
    result = caffe("detect", "cascade.prototxt", "cascade.caffemodel", "scene.png", "--json")
    assert found(result) == [(2, [0, 16, 8.5, 8.5]), (1, [8, 0, 8.5, 8.5])]
    means = [(0.75 + probability(20, 250, 2)) / 2, (0.5 + probability(220, 20, 1)) / 2]
    assert [each["score"] for each in json.loads(result.stdout)] == pytest.approx(means, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere.png"], 1, "nowhere.png: the image cannot be read: No such file"),
        (["nowhere.mp4"], 1, "nowhere.mp4: there is no such video"),
        (["broken.mp4"], 1, "broken.mp4: OpenCV cannot read this video"),
        (["ssd.prototxt"], 1, "ssd.prototxt: the image cannot be read: OpenCV cannot decode"),
        (["train_lmdb"], 1, "train_lmdb: there are no images or videos in this folder"),
        (["000139.png", "--out", "."], 1, "two of the files would be the same one"),
        (["000139.png", "./000139.png", "--out", "drawn"], 1, "two of the files would be the same one"),
        (["000139.png", "--out", "ssd.prototxt"], 1, "cannot write this file"),
        (["000139.png", "--labels", "nowhere.prototxt"], 1, "nowhere.prototxt"),
        (["000139.png", "--labels", "nowhere.txt"], 1, "nowhere.txt: the labels cannot be read: No such file"),
        (["000139.png", "--mean", "1,2"], 1, "mean_value is given 2 times, the image has 3 channels"),
        (["000139.png", "--regions", "words.csv"], 1, "--regions is given, and the net has no input rois"),
        (["000139.png", "--mean", "a"], 2, "'a' is not numbers"),
        (["000139.png", "--size", "300"], 2, "'300' is not two sizes"),
    ],
)
def test_errors(caffe, folder, ssd, words, status, message):
    (folder / "broken.mp4").write_bytes(b"not a video")
    (folder / "words.csv").write_text(GIVEN)
    result = caffe(*ssd, *words)
    assert result.returncode == status
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            RCNN.replace('top: "cls_prob"', 'top: "prob"'),
            "puts out bbox_pred (3, 12), prob (3, 3), size (1, 3), which",
        ),
        (RCNN.replace("num_output: 12", "num_output: 5"), "bbox_pred has the shape (3, 5), and cls_prob has 3 classes"),
        (
            RCNN.replace('"im_info"', '"scale"'),
            "the net has the inputs data (1, 3, 8, 8), scale (1, 3). Give a",
        ),
        (FAST, "the net has an input rois, for regions that another program finds. Give --regions"),
        (RCNN.replace(": 12", ": 8").replace('score" top: "cls', 'bbox_pred" top: "cls'), "which no detector does"),
        (ROIS, "puts out rois (3, 5), which no detector does. It proposes regions, and does not say what they are"),
        (SSD.format(transform="").replace('"Input"', '"DummyData"').replace("input_p", "dummy_data_p"), "has no input"),
        (SSD.format(transform="").replace("dim: 3 ", "dim: 4 "), "the net takes images of 4 channels"),
    ],
)
def test_nets_that_are_no_detectors(caffe, folder, ssd, net, message):
    (folder / "other.prototxt").write_text(net)
    Net(folder / "other.prototxt", TEST, engine="numpy").save(folder / "other.caffemodel")
    result = caffe("detect", "other.prototxt", "other.caffemodel", "000139.png")
    assert result.returncode == 1
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
