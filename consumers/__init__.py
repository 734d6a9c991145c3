"""The tools that read Caffe's files, each in an environment of its own, next to real Caffe."""
