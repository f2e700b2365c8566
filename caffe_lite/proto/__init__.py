"""The messages of Caffe (`caffe_pb2`), and how they are read from text, upgraded and written."""
