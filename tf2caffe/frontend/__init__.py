"""The front end: every kind of TensorFlow file becomes one graph. May import TensorFlow."""
