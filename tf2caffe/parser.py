"""The parser of all scripts; `cli` imports it late, as it does what takes time to import."""

import argparse
import difflib
import re

from tf2caffe.failure import Failure


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are a `Failure`, like all that a user can mistake."""

    def error(self, message):
        raise Failure(f"{message}{self.meant(message)}; --help lists the options")

    def meant(self, message):
        """The option next to one that is not known."""
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        near = unknown and difflib.get_close_matches(
            unknown[1], self._option_string_actions, 1, 0.7
        )
        return f" (did you mean {near[0]}?)" if near else ""
