"""The page: its sections as HTML, put into template.html with the style and the script.

It names no other file and no address, so that it opens offline.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from tf2caffe.caffe import cost
from tf2caffe.paths import replacing
from tf2caffe.pictures import layers
from tf2caffe.proof import parity
from tf2caffe.report import tiles
from tf2caffe.report.markup import Markup, facts, joined, table, tag

HERE = Path(__file__).resolve().parent
IMAGES = 20  # that are shown with their answers
FORMS = {"inspectable": "Inspectable form", "deploy": "Deploy form"}


@dataclass
class Run:
    """What the page says besides what the proof found: when and by which command it was made.

    `notes` are lines that were printed on the way, such as that an image was resized.
    """

    command: str
    date: str
    classes: list = field(default_factory=list)
    notes: list = field(default_factory=list)


def write(path, run, verdicts, graph, forms):
    """Write the page of a network that was proven.

    `verdicts` and `forms` have a `Verdict` and a `Form` for each form of it, `graph` is its graph.
    """
    name = verdicts[0].found.handoff.name
    records = [verdict.record for verdict in verdicts]
    data = [pictures_of(verdict) for verdict in verdicts]
    body = [
        head(name, verdicts, records),
        section("Model and files", about(run, verdicts, records)),
        section("Inputs and outputs", ends(records[0])),
        section("Preprocessing", preprocessing(records[0], run)),
        section("Cost", costs(graph, forms)),
        answers(run, verdicts, records),
        section("Layers", chosen(), *map(layer_table, range(len(records)), verdicts, records)),
        *(section(f"Network: {FORMS[one['network']['form']]}".lower().capitalize(),
                  network(form)) for one, form in zip(records, forms, strict=True)),
    ]  # fmt: skip
    save(path, name, body, data)


def write_refused(path, run, name, failure):
    """Write the page of a model that was not converted: what was refused, and why."""
    summary, *problems = str(failure).split("\n")
    rows = [[problem.strip()] for problem in problems]
    body = [
        tag("header", tag("h1", name), badge("REFUSED", False), tag("p", summary)),
        section("Refused", table(["layer, op and reason"], rows)) if rows else None,
        section("Run", facts([("command", tag("code", run.command)), ("date", run.date)])),
    ]
    save(path, name, body, [])


def save(path, title, body, data):
    parts = {
        "title": joined(f"{title}: tf2caffe report"),
        "style": (HERE / "style.css").read_text(encoding="utf-8"),
        "script": (HERE / "page.js").read_text(encoding="utf-8"),
        "body": joined(*body),
        "data": json.dumps(data).replace("<", "\\u003c"),
    }
    text = Template((HERE / "template.html").read_text(encoding="utf-8")).substitute(parts)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def section(title, *children):
    return tag("section", tag("h2", title), *children)


def badge(text, good):
    return tag("p", text, class_=f"badge {'good' if good else 'bad'}")


def head(name, verdicts, records):
    """The verdict of all forms in a word, of each form in a line, and the bound."""
    equal = all(verdict.equal for verdict in verdicts)
    lines = []
    for verdict, one in zip(verdicts, records, strict=True):
        form = FORMS[one["network"]["form"]]
        told = tag("span", str(verdict), class_="good" if verdict.equal else "bad")
        lines.append(tag("li", tag("b", form), f" in {verdict.runtime}: ", told))
    tolerance = verdicts[0].tolerance
    bound = (
        f"Bound: each layer alone may differ from TensorFlow by {tolerance:g} of its largest "
        f"number. From the input on, the first {parity.SHALLOW} layers may differ by as much, and "
        f"each layer beyond by {tolerance:g} more."
    )
    return tag(
        "header", tag("h1", name), badge("EQUAL" if equal else "NOT EQUAL", equal),
        tag("ul", *lines), tag("p", bound), remarks(verdicts),
    )  # fmt: skip


def remarks(verdicts):
    """What each proof says besides its verdict, each line once."""
    lines = dict.fromkeys(line for verdict in verdicts for line in verdict.remarks())
    return tag("ul", *(tag("li", line) for line in lines), class_="remarks")


def about(run, verdicts, records):
    """The model, the files, the versions, the command."""
    model, network = records[0]["model"], records[0]["network"]
    versions = {**records[0]["versions"], "runtime": verdicts[0].runtime}
    rows = [(file["file"], f"{file['bytes']:,}", tag("code", file["sha256"]))
            for one in records for file in one["files"]]  # fmt: skip
    return joined(
        facts([
            ("model", model["file"] or "in memory"),
            ("SHA-256 of the model", tag("code", model["sha256"])),
            ("target", network["target"]),
            ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
            ("command", tag("code", run.command)),
            ("date", run.date),
        ]),
        table(["file", "bytes", "SHA-256"], rows),
    )  # fmt: skip


def ends(found):
    """Inputs and outputs, each with shape and order."""
    inputs = [
        (one["name"], one["blob"], shape(one["tensorflow_shape"]), shape(one["shape"]),
         one["order"]) for one in found["inputs"]
    ]  # fmt: skip
    outputs = [
        (one["name"], one["blob"] or "none", shape(one["shape"]), one["order"], left_over(one))
        for one in found["outputs"]
    ]
    return joined(
        table(["input", "Caffe's blob", "TensorFlow's shape", "Caffe's shape", "order"], inputs),
        table(["output", "Caffe's blob", "shape", "order", ""], outputs),
    )


def left_over(output):
    axis = output["axis"]
    return "" if axis is None else f"the caller takes the ArgMax along TensorFlow's axis {axis}"


def shape(sizes):
    return "×".join(map(str, sizes))


def preprocessing(found, run):
    """What was done to the images, and the same for other tools."""
    told = found["preprocessing"]
    notes = tag("ul", *(tag("li", note) for note in run.notes)) if run.notes else None
    if not told:
        return joined(tag("p", "None: the network was run on the numbers as they were."), notes)
    snippets = [
        joined(tag("h3", name), tag("pre", text)) for name, text in told["snippets"].items()
    ]
    return joined(tag("p", told["formula"]), notes, *snippets)


def costs(graph, forms):
    """What the network takes in TensorFlow, and in each form."""
    head, *rows = cost.table(graph, *(form.net for form in forms))
    return table(head, rows, class_="numbers")


def answers(run, verdicts, records):
    """Both sides' answers to the first images, those of the last form that was proven."""
    if not records[0]["answers"]:
        return None
    columns = [dict(of_images(one, run.classes)) for one in records]
    images, kept = [*columns[0]][:IMAGES], verdicts[0].found.kept
    cards = [
        card(at, kept, [column[at] for column in columns], records, run.classes) for at in images
    ]
    more = len(columns[0]) - len(images)
    note = tag("p", f"and {more} more images, in parity.json") if more > 0 else None
    return section("Answers", tag("div", *cards, class_="cards"), note)


def of_images(found, classes):
    """(index of the image, its answer of the last layer that gives any)."""
    last = found["answers"][-1]["layer"]
    return enumerate(one for one in found["answers"] if one["layer"] == last)


def card(at, kept, found, records, classes):
    """An image with TensorFlow's answer, Caffe's in each form, and the one that is expected."""
    expected = (kept.made.get("expected") or [None] * len(kept.images))[at]
    tf = label(found[0]["tensorflow"], classes)
    lines = [tag("tr", tag("th", "TensorFlow"), tag("td", tf))]
    for one, form in zip(found, records, strict=True):
        name = "Caffe" if form["network"]["form"] == "inspectable" else "Caffe, deploy"
        mark = tag("td", label(one["caffe"], classes), class_="good" if one["pass"] else "bad")
        lines.append(tag("tr", tag("th", name), mark))
    if expected is not None:
        right = "good" if expected == tf else "bad"
        lines.append(tag("tr", tag("th", "expected"), tag("td", expected, class_=right)))
    return tag("figure", picture(at, kept), tag("figcaption", kept.images[at]),
               tag("table", tag("tbody", *lines)), class_="card")  # fmt: skip


def picture(at, kept):
    """The input, if it is one image."""
    arrays = list(kept.inputs.values())
    if len(arrays) != 1 or arrays[0].ndim != 4 or arrays[0].shape[3] not in (1, 3):
        return None
    return tag("img", src=tiles.photo(arrays[0][at]), alt=kept.images[at], width=96, height=96)


def label(index, classes):
    return classes[index] if index < len(classes) else str(index)


def chosen():
    """Where the script shows the layer that is chosen in a table."""
    return tag(
        "div", tag("p", "Choose a row to see the layer in TensorFlow, in Caffe, and their "
                   "difference. A click on a column's head sorts the table."), id="chosen",
    )  # fmt: skip


def layer_table(form, verdict, found):
    """A form's layers; the first that is not equal is marked."""
    title = FORMS[found["network"]["form"]]
    bad = next((one["tensorflow"] for one in found["layers"] if not one["pass"]), None)
    rows, marked = [], False
    for at, (one, row) in enumerate(zip(found["layers"], verdict.rows, strict=True)):
        first = not marked and one["tensorflow"] == bad and not one["pass"]
        marked = marked or first
        rows.append(layer_row(form, at, one, row, first))
    heads = tag("tr", *(tag("th", tag("button", name, type="button")) for name in COLUMNS))
    inner = tag("table", tag("thead", heads), tag("tbody", *rows), class_="layers")
    return joined(tag("h3", f"{title}: {len(rows)} layers"), tag("div", inner, class_="scroll"))


def layer_row(form, at, one, row, first):
    """A row of the table; `data-value` is what it is sorted by."""
    errors = [one[key] for key in ("error", "error_limit", "own_error", "probe_error")]
    passed = "equal" if one["pass"] else "first that is not equal" if first else "not equal"
    cells = [(at + 1, at + 1), *((one[key], one[key]) for key in ("tensorflow", "caffe"))]
    cells += [(shape(row.tf.shape[1:]), row.tf[0].size)]
    cells += [(written(value, one), sortable(value)) for value in errors]
    cells += [(passed, passed)]
    return tag(
        "tr", *(tag("td", text, data_value=value) for text, value in cells), tabindex="0",
        data_form=form, data_row=at, title=one["reason"],
        class_="first bad" if first else None if one["pass"] else "bad",
    )  # fmt: skip


def written(value, one):
    return "" if value is None and one["pass"] else "∞" if value is None else f"{value:.1e}"


def sortable(value):
    return "Infinity" if value is None else value


def pictures_of(verdict):
    """The pictures of a form's layers, for the script."""
    kept = verdict.found.kept
    rows = [layers.comparison(row, kept.shown, verdict.tolerance) for row in verdict.rows]
    names = [{"name": f"{row.name} → {row.blob}", "reason": row.fault} for row in rows]
    found = zip(names, tiles.of_rows(rows), strict=True)
    return {"image": kept.images[kept.shown], "rows": [name | (tile or {}) for name, tile in found]}


def network(form):
    """The diagram, which the script zooms."""
    svg = Markup(form.handoff.diagram_svg.read_text(encoding="utf-8"))
    buttons = [tag("button", text, type="button", data_zoom=by, title=title)
               for text, by, title in (("+", "0.7", "closer"), ("−", "1.4", "farther"),
                                       ("all", "", "the whole network"))]  # fmt: skip
    note = tag("span", "The wheel zooms, dragging moves; a box names its layers.", class_="faint")
    return tag("div", tag("p", *buttons, " ", note), svg, class_="zoom")


COLUMNS = (
    "#", "TensorFlow", "Caffe's blob", "shape", "error", "its limit", "own error", "on probes",
    "verdict",
)  # fmt: skip
