"""HTML out of nested calls: text is escaped, what `tag` and `joined` give is not."""

from html import escape


class Markup(str):
    """Text that is HTML already."""


def tag(name, *children, **attributes):
    """An element; an attribute is called as in HTML, but `class_` for class, `_` for a dash.

    One that is None or False is left out, True stands alone.
    """
    parts = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            parts.append(f'{key}="{escape(str(value))}"')
    start = f"<{' '.join(parts)}>"
    return Markup(start if name in VOID else f"{start}{joined(*children)}</{name}>")


def joined(*children):
    """The children one after another; None is left out."""
    return Markup("".join(map(_text, children)))


def _text(child):
    if child is None:
        return ""
    return child if isinstance(child, Markup) else escape(str(child))


def table(head, rows, **attributes):
    """A table of rows of cells, each text or markup."""
    header = tag("tr", *(tag("th", cell) for cell in head)) if head else None
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    thead = tag("thead", header) if head else None
    return tag("table", thead, tag("tbody", *body), **attributes)


def facts(pairs):
    """A table of names and what they are."""
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in pairs]
    return tag("table", tag("tbody", *rows), class_="facts")


VOID = {"img", "input", "meta"}
