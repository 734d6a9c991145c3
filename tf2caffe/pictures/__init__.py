"""What is drawn: layers, comparisons, networks, curves."""
