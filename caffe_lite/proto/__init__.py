"""The messages of Caffe (`caffe_pb2`), and how they are read from text, upgraded and written."""

from . import caffe_pb2

__all__ = ["caffe_pb2"]  # scripts write caffe.proto.caffe_pb2 without importing it
