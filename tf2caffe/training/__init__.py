"""What train.py needs beyond Keras. May import TensorFlow."""
