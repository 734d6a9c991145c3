"""The one error type of the project, and how a message becomes a line."""

LENGTH = 2000  # letters in a line


class Failure(Exception):
    """A user's mistake or a machine's limit, told in one line: what is wrong and what to do."""


class Unsupported(Failure):
    """What the reader cannot take. `graph` is the rest, with inputs in place of what is refused.

    It is None where nothing can be said of the rest.
    """

    def __init__(self, text, graph=None):
        super().__init__(text)
        self.graph = graph


def listed(summary, problems):
    """A summary, then each problem on a line of its own."""
    return "\n  ".join([f"{summary}:", *problems])


def refuse_idle(needed, **options):
    """Raise `Failure` where one of these options is given, for want of what it is `needed` for."""
    for option, value in options.items():
        if value is not None and value is not False:
            raise Failure(f"--{option.replace('_', '-')} does nothing here: {needed}")


def first_line(error):
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def plain(text):
    """What a file made us say, fit for a terminal: no control characters, no endless lines."""
    lines = ["".join(c if c.isprintable() else "?" for c in line) for line in text.split("\n")]
    return "\n".join(line if len(line) <= LENGTH else f"{line[:LENGTH]} ..." for line in lines)
