"""The back end: the graph becomes a Caffe network that a target takes. numpy and protobuf only."""
