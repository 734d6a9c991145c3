"""Random networks, each proven on both runtimes; see `__main__` for how to run them."""
