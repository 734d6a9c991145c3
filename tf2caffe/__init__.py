"""What the six scripts share. Nothing here imports TensorFlow, but for the reader."""
