"""The proof: both networks run side by side, layer by layer, without TensorFlow."""
