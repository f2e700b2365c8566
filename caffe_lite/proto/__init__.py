"""The messages of Caffe (`caffe_pb2`): reading them from text, upgrading and writing them."""

from . import caffe_pb2

__all__ = ["caffe_pb2"]  # scripts write caffe.proto.caffe_pb2 without importing it
