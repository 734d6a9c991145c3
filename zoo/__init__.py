"""Networks that others wrote, with random weights: `make zoo`."""
