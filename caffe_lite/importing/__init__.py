"""Nets from other formats: an ONNX graph becomes Caffe's layers."""
