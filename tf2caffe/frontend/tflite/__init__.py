"""TFLite files: read, written in TensorFlow's nodes, and held against TFLite's own interpreter."""
