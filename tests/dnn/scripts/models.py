"""The small nets of the scripts, with weights that are the same everywhere; and their images.

Each has the structure of the net that people use with such a script.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import caffe_lite
from caffe_lite import TEST


def conv(
    name: str, bottom: str, outputs: int, kernel: int = 3, stride: int = 1, relu: bool = True, more: str = ""
) -> str:
    """Return a convolution that keeps the image's size if its stride is 1, with a ReLU in place."""
    text = f"""
layer {{
  name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {kernel // 2} {more} }}
}}"""
    return text + f'\nlayer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}' * relu


def image_input(name: str, height: int, width: int, channels: int = 3) -> str:
    return f'input: "{name}"\ninput_dim: 1\ninput_dim: {channels}\ninput_dim: {height}\ninput_dim: {width}\n'


def ssd(classes: int, side: int) -> str:
    """Return an SSD with two maps of priors."""
    text = image_input("data", side, side) + conv("conv1", "data", 8, stride=2) + conv("conv2", "conv1", 8, stride=2)
    text += conv("conv3", "conv2", 8, stride=2)
    for source, least, most in (("conv2", 8, 20), ("conv3", 20, 40)):
        for kind, each in (("loc", 4), ("conf", classes)):
            head = f"{source}_{kind}"
            text += conv(head, source, 4 * each, relu=False)
            text += f"""
layer {{
  name: "{head}_perm" type: "Permute" bottom: "{head}" top: "{head}_perm"
  permute_param {{ order: 0 order: 2 order: 3 order: 1 }}
}}
layer {{
  name: "{head}_flat" type: "Flatten" bottom: "{head}_perm" top: "{head}_flat" flatten_param {{ axis: 1 }}
}}"""
        text += f"""
layer {{
  name: "{source}_prior" type: "PriorBox" bottom: "{source}" bottom: "data" top: "{source}_prior"
  prior_box_param {{
    min_size: {least} max_size: {most} aspect_ratio: 2 flip: true clip: false
    variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2
  }}
}}"""
    for kind, axis in (("loc_flat", 1), ("conf_flat", 1), ("prior", 2)):
        text += f"""
layer {{
  name: "mbox_{kind}" type: "Concat" bottom: "conv2_{kind}" bottom: "conv3_{kind}" top: "mbox_{kind}"
  concat_param {{ axis: {axis} }}
}}"""
    return (
        text
        + f"""
layer {{
  name: "mbox_conf_reshape" type: "Reshape" bottom: "mbox_conf_flat" top: "mbox_conf_reshape"
  reshape_param {{ shape {{ dim: 0 dim: -1 dim: {classes} }} }}
}}
layer {{
  name: "mbox_conf_softmax" type: "Softmax" bottom: "mbox_conf_reshape" top: "mbox_conf_softmax"
  softmax_param {{ axis: 2 }}
}}
layer {{
  name: "mbox_conf_softmax_flat" type: "Flatten" bottom: "mbox_conf_softmax" top: "mbox_conf_softmax_flat"
  flatten_param {{ axis: 1 }}
}}
layer {{
  name: "detection_out" type: "DetectionOutput"
  bottom: "mbox_loc_flat" bottom: "mbox_conf_softmax_flat" bottom: "mbox_prior" top: "detection_out"
  include {{ phase: TEST }}
  detection_output_param {{
    num_classes: {classes} share_location: true background_label_id: 0 code_type: CENTER_SIZE
    nms_param {{ nms_threshold: 0.4 top_k: 100 }} keep_top_k: 20 confidence_threshold: 0.05
  }}
}}"""
    )


def colorization() -> str:
    text = (
        image_input("data_l", 32, 32, 1) + conv("bw_conv1_1", "data_l", 8) + conv("conv1_2", "bw_conv1_1", 8, stride=2)
    )
    text += """
layer {
  name: "conv1_2norm" type: "BatchNorm" bottom: "conv1_2" top: "conv1_2norm"
  batch_norm_param { use_global_stats: true }
}"""
    text += conv("conv2_1", "conv1_2norm", 12, stride=2, more="dilation: 1")
    return (
        text
        + conv("conv8_313", "conv2_1", 313, 1, relu=False)
        + """
layer {
  name: "conv8_313_rh" type: "Scale" bottom: "conv8_313" top: "conv8_313_rh"
  scale_param { bias_term: false filler { type: "constant" value: 2.606 } }
}
layer { name: "class8_313_rh" type: "Softmax" bottom: "conv8_313_rh" top: "class8_313_rh" }
layer {
  name: "class8_ab" type: "Convolution" bottom: "class8_313_rh" top: "class8_ab"
  convolution_param { num_output: 2 kernel_size: 1 stride: 1 dilation: 1 }
}
layer { name: "Silence" type: "Silence" bottom: "class8_ab" }"""
    )


def style() -> str:
    def residual(index: int, bottom: str) -> str:
        first, second, name = f"res{index}_a", f"res{index}_b", f"res{index}"
        return (
            conv(first, bottom, 8)
            + conv(second, first, 8, relu=False)
            + f"""
layer {{ name: "{name}" type: "Eltwise" bottom: "{bottom}" bottom: "{second}" top: "{name}" }}"""
        )

    return (
        image_input("data", 40, 40)
        + conv("conv1", "data", 8, 9)
        + conv("conv2", "conv1", 8, stride=2)
        + residual(1, "conv2")
        + residual(2, "res1")
        + """
layer {
  name: "deconv1" type: "Deconvolution" bottom: "res2" top: "deconv1"
  convolution_param { num_output: 8 kernel_size: 4 stride: 2 pad: 1 }
}
layer { name: "norm" type: "MVN" bottom: "deconv1" top: "norm" mvn_param { normalize_variance: true } }
layer { name: "elu" type: "ELU" bottom: "norm" top: "norm" }"""
        + conv("deconv2", "norm", 3, 9, relu=False)
        + """
layer { name: "tanh" type: "TanH" bottom: "deconv2" top: "tanh" }
layer { name: "scale" type: "Power" bottom: "tanh" top: "scale" power_param { scale: 150 shift: 127.5 } }"""
    )


def pose(points: int = 5) -> str:
    text = (
        image_input("image", 48, 48)
        + conv("conv1", "image", 8)
        + """
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }"""
    )
    text += (
        conv("conv2", "pool1", 8)
        + """
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 2 stride: 2 } }"""
    )
    text += conv("conv3", "pool2", 8)
    for stage, bottom in ((1, "conv3"), (2, "concat_stage2")):
        for branch, outputs in ((1, 4), (2, points + 1)):
            middle, end = f"Mconv1_stage{stage}_L{branch}", f"Mconv2_stage{stage}_L{branch}"
            text += conv(middle, bottom, 8) + conv(end, middle, outputs, 1, relu=False)
        ends = f'bottom: "Mconv2_stage{stage}_L2" bottom: "Mconv2_stage{stage}_L1"'
        name = "concat_stage2" if stage == 1 else "net_output"
        more = ' bottom: "conv3"' if stage == 1 else ""
        text += f'\nlayer {{ name: "{name}" type: "Concat" {ends}{more} top: "{name}" }}'
    return text


def edges() -> str:
    text = image_input("data", 45, 53) + conv("conv1", "data", 6)
    text += """
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }"""
    text += conv("conv2", "pool1", 6) + conv("score-dsn1", "conv1", 1, 1, relu=False)
    text += (
        conv("score-dsn2", "conv2", 1, 1, relu=False)
        + """
layer {
  name: "upsample_2" type: "Deconvolution" bottom: "score-dsn2" top: "score-dsn2-up"
  convolution_param { num_output: 1 kernel_size: 4 stride: 2 bias_term: false }
}"""
    )
    for index, bottom in ((1, "score-dsn1"), (2, "score-dsn2-up")):
        ends = f'bottom: "{bottom}" bottom: "data" top: "upscore-dsn{index}"'
        text += f'\nlayer {{ name: "crop{index}" type: "Crop" {ends} }}'
    return (
        text
        + """
layer { name: "concat" type: "Concat" bottom: "upscore-dsn1" bottom: "upscore-dsn2" top: "concat-upscore" }
layer {
  name: "upscore-fuse" type: "Convolution" bottom: "concat-upscore" top: "upscore-fuse"
  convolution_param { num_output: 1 kernel_size: 1 }
}
layer { name: "sigmoid-fuse" type: "Sigmoid" bottom: "upscore-fuse" top: "sigmoid-fuse" }"""
    )


def faces(classes: int) -> str:
    """Return a net of the kind that tells age or gender from a face."""
    return (
        image_input("data", 57, 57)
        + conv("conv1", "data", 8, 7, stride=4)
        + f"""
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param {{ kernel_size: 3 stride: 2 }} }}
layer {{ name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param {{ local_size: 5 alpha: 0.0001 }} }}
layer {{ name: "fc6" type: "InnerProduct" bottom: "norm1" top: "fc6" inner_product_param {{ num_output: 16 }} }}
layer {{ name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }}
layer {{ name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" }}
layer {{ name: "fc8" type: "InnerProduct" bottom: "fc6" top: "fc8" inner_product_param {{ num_output: {classes} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }}"""
    )


def text() -> str:
    """Return a net with the two outputs of EAST: scores, and distances with an angle."""
    body = image_input("data", 64, 96) + conv("conv1", "data", 8, stride=2) + conv("conv2", "conv1", 8, stride=2)
    body += conv("scores", "conv2", 1, 1, relu=False) + conv("distances", "conv2", 4, 1, relu=False)
    return (
        body
        + conv("angle", "conv2", 1, 1, relu=False)
        + """
layer { name: "feature_fusion/Conv_7/Sigmoid" type: "Sigmoid" bottom: "scores" top: "score" }
layer { name: "distances_abs" type: "AbsVal" bottom: "distances" top: "far" }
layer { name: "distances_scaled" type: "Power" bottom: "far" top: "farther" power_param { scale: 6 shift: 3 } }
layer { name: "angle_tanh" type: "TanH" bottom: "angle" top: "turned" }
layer { name: "feature_fusion/concat_3" type: "Concat" bottom: "farther" bottom: "turned" top: "geometry" }"""
    )


def segmentation(classes: int = 6) -> str:
    return (
        image_input("data", 48, 64)
        + conv("conv1", "data", 8)
        + """
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }"""
        + conv("conv2", "pool1", 8)
        + conv("score_fr", "conv2", classes, 1, relu=False)
        + f"""
layer {{
  name: "upscore" type: "Deconvolution" bottom: "score_fr" top: "upscore"
  convolution_param {{ num_output: {classes} kernel_size: 4 stride: 2 bias_term: false }}
}}
layer {{
  name: "score" type: "Crop" bottom: "upscore" bottom: "data" top: "score" crop_param {{ axis: 2 offset: 1 }}
}}"""
    )


def classification(classes: int = 12) -> str:
    return (
        image_input("data", 56, 56)
        + conv("conv1/7x7_s2", "data", 8, 7, stride=2)
        + f"""
layer {{
  name: "pool1/3x3_s2" type: "Pooling" bottom: "conv1/7x7_s2" top: "pool1/3x3_s2"
  pooling_param {{ pool: MAX kernel_size: 3 stride: 2 }}
}}{conv("inception/1x1", "pool1/3x3_s2", 6, 1)}{conv("inception/3x3", "pool1/3x3_s2", 6)}
layer {{
  name: "inception/output" type: "Concat" bottom: "inception/1x1" bottom: "inception/3x3" top: "inception/output"
}}
layer {{
  name: "pool5" type: "Pooling" bottom: "inception/output" top: "pool5"
  pooling_param {{ pool: AVE global_pooling: true }}
}}
layer {{
  name: "classifier" type: "InnerProduct" bottom: "pool5" top: "classifier"
  inner_product_param {{ num_output: {classes} }}
}}
layer {{ name: "prob" type: "Softmax" bottom: "classifier" top: "prob" }}"""
    )


NETS = {
    "faces": (ssd(2, 60), 1),
    "colorization": (colorization(), 2),
    "style": (style(), 3),
    "pose": (pose(), 4),
    "edges": (edges(), 5),
    "age": (faces(8), 6),
    "gender": (faces(2), 7),
    "text": (text(), 8),
    "segmentation": (segmentation(), 9),
    "classification": (classification(), 10),
    "objects": (ssd(5, 72), 11),
}


def make(folder: Path) -> None:
    """Write NAME.prototxt and NAME.caffemodel of every net into a folder, and the centres of colours."""
    for name, (net_text, seed) in NETS.items():
        path = folder / f"{name}.prototxt"
        path.write_text(net_text.lstrip() + "\n")
        net = caffe_lite.Net(path, TEST, engine="numpy")
        random = np.random.RandomState(seed)
        for number, (layer, blobs) in enumerate(net.params.items()):
            for blob in blobs:
                blob.data[...] = _weights(random, layer, blob.data.shape)
            if number == 0:  # images have values of some hundreds
                blobs[0].data[...] /= 100
        net.save(folder / f"{name}.caffemodel")
    np.save(folder / "pts_in_hull.npy", np.random.RandomState(0).uniform(-90, 90, (313, 2)))


def _weights(random: np.random.RandomState, layer: str, shape: tuple[int, ...]) -> np.ndarray:
    if layer.endswith("norm"):  # BatchNorm's statistics
        return random.uniform(0.5, 1.5, shape)
    if len(shape) == 1:
        return random.uniform(-0.2, 0.2, shape)
    inputs = np.prod(shape[1:])
    return random.standard_normal(shape) * (2 / inputs) ** 0.5


def images(count: int = 3, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """Return images (H, W, 3) of bytes: a gradient with rectangles that move."""
    y, x = np.mgrid[:height, :width]
    background = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (height + width)], 2)
    random = np.random.RandomState(12)
    corners, colours = random.randint(0, 60, (6, 2)), random.randint(0, 256, (6, 3))
    found = []
    for number in range(count):
        image = background.astype(np.uint8)
        for (top, left), colour in zip(corners, colours, strict=True):
            image[top : top + 25, left + 6 * number : left + 6 * number + 35] = colour
        found.append(image)
    return found
