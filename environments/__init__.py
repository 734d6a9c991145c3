"""The oldest, a middle and the newest set of packages that tf2caffe runs with."""
