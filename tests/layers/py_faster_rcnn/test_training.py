"""A region-proposal network, and a detector on its regions, learn to find a bright square."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite import SGDSolver
from caffe_lite.layers.py_faster_rcnn.config import cfg
from caffe_lite.proto import caffe_pb2

NET = """
name: "small faster r-cnn"
layer { name: "in" type: "Input" top: "data" top: "im_info" top: "gt_boxes" input_param {
  shape { dim: 1 dim: 1 dim: 64 dim: 80 } shape { dim: 1 dim: 3 } shape { dim: 1 dim: 5 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
  num_output: 8 kernel_size: 7 stride: 4 pad: 3 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2" convolution_param {
  num_output: 16 kernel_size: 5 stride: 2 pad: 2 weight_filler { type: "xavier" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "rpn_cls_score" type: "Convolution" bottom: "conv2" top: "rpn_cls_score" convolution_param {
  num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "rpn_bbox_pred" type: "Convolution" bottom: "conv2" top: "rpn_bbox_pred" convolution_param {
  num_output: 12 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "reshape" type: "Reshape" bottom: "rpn_cls_score" top: "rpn_cls_score_reshape"
  reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
layer { name: "rpn-data" type: "Python" bottom: "rpn_cls_score" bottom: "gt_boxes" bottom: "im_info" bottom: "data"
  top: "rpn_labels" top: "rpn_bbox_targets" top: "rpn_bbox_inside_weights" top: "rpn_bbox_outside_weights"
  python_param { module: "rpn.anchor_target_layer" layer: "AnchorTargetLayer"
    param_str: "{'feat_stride': 8, 'scales': [2]}" } }
layer { name: "rpn_loss_cls" type: "SoftmaxWithLoss" bottom: "rpn_cls_score_reshape" bottom: "rpn_labels"
  top: "rpn_cls_loss" propagate_down: 1 propagate_down: 0 loss_weight: 1
  loss_param { ignore_label: -1 normalize: true } }
layer { name: "rpn_loss_bbox" type: "SmoothL1Loss" bottom: "rpn_bbox_pred" bottom: "rpn_bbox_targets"
  bottom: "rpn_bbox_inside_weights" bottom: "rpn_bbox_outside_weights" top: "rpn_loss_bbox" loss_weight: 1
  smooth_l1_loss_param { sigma: 3.0 } }
layer { name: "rpn_cls_prob" type: "Softmax" bottom: "rpn_cls_score_reshape" top: "rpn_cls_prob" }
layer { name: "rpn_cls_prob_reshape" type: "Reshape" bottom: "rpn_cls_prob" top: "rpn_cls_prob_reshape"
  reshape_param { shape { dim: 0 dim: 6 dim: -1 dim: 0 } } }
layer { name: "proposal" type: "Python" bottom: "rpn_cls_prob_reshape" bottom: "rpn_bbox_pred" bottom: "im_info"
  top: "rpn_rois" python_param { module: "rpn.proposal_layer" layer: "ProposalLayer"
    param_str: "{'feat_stride': 8, 'scales': [2]}" } }
layer { name: "roi-data" type: "Python" bottom: "rpn_rois" bottom: "gt_boxes"
  top: "rois" top: "labels" top: "bbox_targets" top: "bbox_inside_weights" top: "bbox_outside_weights"
  python_param { module: "rpn.proposal_target_layer" layer: "ProposalTargetLayer" param_str: "'num_classes': 2" } }
layer { name: "roi_pool" type: "ROIPooling" bottom: "conv2" bottom: "rois" top: "pool"
  roi_pooling_param { pooled_w: 3 pooled_h: 3 spatial_scale: 0.125 } }
layer { name: "cls_score" type: "InnerProduct" bottom: "pool" top: "cls_score" inner_product_param {
  num_output: 2 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "bbox_pred" type: "InnerProduct" bottom: "pool" top: "bbox_pred" inner_product_param {
  num_output: 8 weight_filler { type: "gaussian" std: 0.001 } } }
layer { name: "loss_cls" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "labels" propagate_down: 1
  propagate_down: 0 top: "loss_cls" loss_weight: 1 }
layer { name: "loss_bbox" type: "SmoothL1Loss" bottom: "bbox_pred" bottom: "bbox_targets"
  bottom: "bbox_inside_weights" bottom: "bbox_outside_weights" top: "loss_bbox" loss_weight: 1 }
"""


def test_it_learns(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RPN_MIN_SIZE": 4, "BATCH_SIZE": 32, "RPN_BATCHSIZE": 32, "BG_THRESH_LO": 0.0}.items():
        monkeypatch.setitem(cfg.TRAIN, name, value)
    param = caffe_pb2.SolverParameter(
        base_lr=0.02, momentum=0.9, lr_policy="fixed", max_iter=1000, random_seed=1, display=0,
        net_param=text_format.Parse(NET, caffe_pb2.NetParameter()),
    )  # fmt: skip
    solver = SGDSolver(param, engine=engine)
    rng, losses = np.random.default_rng(0), []
    np.random.seed(0)
    blobs = solver.net.blobs
    for _ in range(160):
        x, y, size = rng.integers(4, 40), rng.integers(4, 30), rng.integers(22, 32)
        image = rng.normal(0, 0.1, (64, 80))
        image[y : y + size, x : x + size] += 1
        blobs["data"].data[...] = image
        blobs["im_info"].data[...] = [[64, 80, 1]]
        blobs["gt_boxes"].data[...] = [[x, y, x + size - 1, y + size - 1, 1]]
        solver.step(1)
        losses.append([float(blobs[name].data) for name in ("rpn_cls_loss", "rpn_loss_bbox", "loss_cls")])
    early, late = np.mean(losses[:20], 0), np.mean(losses[-20:], 0)
    assert (late < 0.6 * early).all(), (early, late)
    best = blobs["rpn_rois"].data[0, 1:]
    truth = blobs["gt_boxes"].data[0, :4]
    shared = np.maximum(np.minimum(best[2:], truth[2:]) - np.maximum(best[:2], truth[:2]) + 1, 0).prod()
    areas = sum(np.prod(box[2:] - box[:2] + 1) for box in (best, truth))
    assert shared / (areas - shared) > 0.5
