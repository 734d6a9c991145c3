"""JSON files of ours, checked against their form before they are believed.

A form is written as the file looks:
    str, int, float, bool   a value of just this type (a truth is no number)
    SIZE                    a positive whole number
    None                    null
    ANY                     whatever JSON has
    [form]                  a list, as long as it likes, of such
    {"key": form}           an object with these keys and no others; "key?" may be absent
    {str: form}             an object with any keys
    (form, form)            one of these
"""

import json

from tf2caffe.failure import Failure
from tf2caffe.nearby import absent

SIZE, ANY = "a positive whole number", "anything"


def load(path, form, build, again):
    """What `build(record)` makes of the JSON file `path`, which has this form.

    Raises `Failure`, with `again`, what to do about it, where the file is missing, has not the
    form, or `build` raises `ValueError`.
    """
    if not path.exists():
        raise Failure(absent(path, again.removesuffix(" again")))
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        check(record, form)
        return build(record)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path} is damaged ({error}); {again}") from None


def check(value, form, place="it"):
    """Raise `ValueError` that names the place where a value has not the form."""
    if isinstance(form, tuple):
        _check_one_of(value, form, place)
    elif isinstance(form, list):
        _expect(isinstance(value, list), place, "a list")
        for at, one in enumerate(value):
            check(one, form[0], f"{place}[{at}]")
    elif isinstance(form, dict):
        _expect(isinstance(value, dict), place, "an object")
        _check_keys(value, form, place)
    elif form == SIZE:
        _expect(type(value) is int and value > 0, place, SIZE)
    elif form is None:
        _expect(value is None, place, "null")
    elif form != ANY:
        _expect(type(value) is form, place, f"of type {form.__name__}")


def _expect(true, place, what):
    if not true:
        raise ValueError(f"{place} is not {what}")


def _check_one_of(value, forms, place):
    for at, form in enumerate(forms):
        try:
            return check(value, form, place)
        except ValueError:
            if at == len(forms) - 1:
                raise
    return None


def _check_keys(value, form, place):
    """Every key that is there has a form, every key of the form is there."""
    if str in form:
        form = dict.fromkeys(value, form[str])
    known = {key.removesuffix("?"): (key[-1:] == "?", one) for key, one in form.items()}
    strange = [key for key in value if key not in known]
    absent = [key for key, (may, _) in known.items() if not may and key not in value]
    _expect(not strange, f"{place}: {'; '.join(strange)}", "known")
    _expect(not absent, f"{place}: {'; '.join(absent)}", "there")
    for key, one in value.items():
        check(one, known[key][1], key if place == "it" else f"{place}.{key}")
