"""A definition as somebody typed or sent it, read and judged, with each mistake at its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from iso4217 import Currency
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from governance.canonical import LARGEST_INT
from governance.definitions import secrets
from governance.definitions.payload_schema import at, wrongs
from governance.definitions.shape import DEFAULTS, DEFINITION, END, KEY, RESERVED
from governance.errors import Unprocessable
from governance.models import ActionType

LIMIT = 200_000  # characters of a document
SHOWN = 40  # mistakes
CURRENCIES = frozenset(currency.value for currency in Currency)
_PLACE = re.compile(r"\{([^{}]*)\}")
_form = Draft202012Validator(DEFINITION)


class Place(NamedTuple):
    """One thing to mend, and where."""

    pointer: str  # JSON pointer into the document; "" = the whole
    words: str


class NotADefinition(Unprocessable):
    """What was typed cannot be taken. Nothing of it was stored."""

    problem, title = "not-a-definition", "Not stored yet"

    def __init__(self, places: Iterable[Place]) -> None:
        self.places = tuple(places)
        super().__init__(
            " ".join(dict.fromkeys(each.words for each in self.places)),
            errors=[{"pointer": each.pointer, "detail": each.words} for each in self.places],
        )


def read(text: str) -> dict[str, Any]:
    """Return the fields of an ActionType that a document gives, all of them.

    Whether it could run, and be promoted, is another question: what is missing for
    that, a draft may lack.

    Raises NotADefinition, with every mistake at its place.
    """
    document = _json(text)
    try:
        found = list(_mistakes(document))
    except RecursionError:
        found = [Place("", "It is nested too deeply, or a schema in it leads back to itself.")]
    if found:
        raise NotADefinition(found[:SHOWN])
    fields = DEFAULTS | document
    seconds = fields.pop("sla_seconds")
    # JSON Schema takes 1.0 for a whole number, and a column gives it back as 1.
    touched = int(fields["records_touched"])
    return fields | {"sla": timedelta(seconds=seconds), "records_touched": touched}


def _json(text: str) -> dict[str, Any]:
    if not text.strip():
        raise NotADefinition([Place("", "Paste a definition, or choose a file.")])
    if len(text) > LIMIT:
        raise NotADefinition([Place("", f"At most {LIMIT:,} characters.")])
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise NotADefinition([Place("", f"This is no JSON: {problem.msg}, {where}.")]) from problem
    except (ValueError, RecursionError) as problem:
        words = str(problem) if isinstance(problem, _Twice) else "This is no JSON that can be kept."
        raise NotADefinition([Place("", words)]) from problem
    if not isinstance(document, dict):
        raise NotADefinition([Place("", "A definition is a JSON object.")])
    return document


class _Twice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Twice(f"“{twice[:60]}” is said twice in one object.")
    return found


def _no_number(word: str) -> Any:
    raise _Twice(f"{word} is no number in JSON.")


def _mistakes(document: dict[str, Any]) -> Iterator[Place]:
    hidden = list(secrets.found_in(document.get("connector_config")))
    if hidden:
        yield from (Place(f"/connector_config/{each.place}", each.words) for each in hidden)
        return  # what is said of other mistakes quotes them
    yield from _unkept(document, "")
    form = sorted(_form.iter_errors(document), key=lambda error: error.json_path)
    yield from dict.fromkeys(_mend(error) for error in form)
    if form:
        return  # what follows relies on it
    given = DEFAULTS | document
    of_schema = [Place(f"/schema{each.place}", each.words) for each in wrongs(given["schema"])]
    yield from of_schema
    if given["example"]["action"] != given["key"]:
        yield Place("/example/action", f"It is an example of this action: say “{given['key']}”.")
    if not of_schema:  # it is looked up in the schema
        yield from _pointers(given)
    yield from _reversal(given)
    for n, band in enumerate(given["impact_bands"]):
        if band["currency"] not in CURRENCIES:
            yield Place(f"/impact_bands/{n}/currency", "A currency by its ISO 4217 code.")
    if not of_schema:
        for each in misfits(given["schema"], given["example"]["payload"]):
            yield Place(f"/example/payload{each.pointer}", each.words)


def _unkept(value: Any, at_: str) -> Iterator[Place]:
    """Yield texts that no database keeps, and numbers that two readers read as two."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not _is_kept(name):
                yield Place(at_, "A name holds a NUL, or half of a character.")
            else:
                yield from _unkept(inner, f"{at_}/{_escaped(name)}")
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _unkept(inner, f"{at_}/{n}")
    elif isinstance(value, str) and not _is_kept(value):
        yield Place(at_, "It holds a NUL, or half of a character.")
    elif isinstance(value, int | float) and not -LARGEST_INT <= value <= LARGEST_INT:
        yield Place(at_, f"A number has at most the size of {LARGEST_INT:,}.")


def _is_kept(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _pointers(given: dict[str, Any]) -> Iterator[Place]:
    """Yield pointers, in templates and by themselves, at which the schema has nothing."""
    schema = given["schema"]

    def missing(place: str, pointer: str) -> Iterator[Place]:
        if not pointer.startswith("/"):
            yield Place(place, f"“{{{pointer[:60]}}}”: a place is a JSON pointer into the payload.")
        elif at(schema, pointer) is None:
            yield Place(place, f"The schema names nothing at {pointer[:120]}.")

    for name in ("amount_pointer", "counterparty_pointer"):
        if given[name]:
            yield from missing(f"/{name}", given[name])
    if given["amount_pointer"] and at(schema, given["amount_pointer"]) is not None:
        for part in ("value", "currency"):
            if at(schema, f"{given['amount_pointer']}/{part}") is None:
                yield Place(
                    "/amount_pointer", f"An amount has “value” and “currency”; {part} is not there."
                )
    for pointer in _PLACE.findall(given["title"]):
        if pointer != "amount":
            yield from missing("/title", pointer)
    for name in ("resource_key", "business_key"):
        for pointer in _PLACE.findall(given[name]):
            yield from missing(f"/{name}", pointer)
    for n, template in enumerate(given["snapshot_plan"]):
        for pointer in _PLACE.findall(template):
            yield from missing(f"/snapshot_plan/{n}", pointer)
    for n, fact in enumerate(given["shown_facts"]):
        yield from missing(f"/shown_facts/{n}/pointer", fact["pointer"])
        for pointer in _PLACE.findall(fact.get("now", {}).get("record", "")):
            yield from missing(f"/shown_facts/{n}/now/record", pointer)
    for n, pointer in enumerate(given["redacted"].get("payload", ())):
        yield from missing(f"/redacted/payload/{n}", pointer)
        yield from _recorded_all_the_same(f"/redacted/payload/{n}", pointer, given)


def _recorded_all_the_same(place: str, pointer: str, given: dict[str, Any]) -> Iterator[Place]:
    """Yield where a field that is to be left out would stand in the record, from which nothing is left out."""
    facts = [fact.get("now", {}).get("record", "") for fact in given["shown_facts"]]
    used = {
        "the title": _PLACE.findall(given["title"]),
        "the resource key": _PLACE.findall(given["resource_key"]),
        "the business key": _PLACE.findall(given["business_key"]),
        "the names of records": _PLACE.findall("".join([*given["snapshot_plan"], *facts])),
        "the amount": [given["amount_pointer"]],
        "the counterparty": [given["counterparty_pointer"]],
    }
    for where, pointers in used.items():
        if any(_is_within(each, pointer) or _is_within(pointer, each) for each in pointers if each):
            yield Place(place, f"It stands in {where}, which the record keeps for good.")


def _is_within(pointer: str, other: str) -> bool:
    return pointer == other or pointer.startswith(f"{other}/")


def _reversal(given: dict[str, Any]) -> Iterator[Place]:
    undone = given["reversal"] != ActionType.Reversal.NONE
    if undone and not given["reversal_code"]:
        yield Place("/reversal_code", "Name the reversal that undoes it.")
    if undone and not given["reversal_words"].strip():
        yield Place(
            "/reversal_words", "Say what an undo does, and its limits: approvers read it first."
        )
    if not undone and given["reversal_code"]:
        yield Place("/reversal_code", "It cannot be undone, so there is no reversal to name.")


def misfits(schema: dict[str, Any], payload: Any) -> list[Place]:
    """Return the places at which a payload does not fit a schema that was taken, each with its mend."""
    errors = Draft202012Validator(schema).iter_errors(payload)
    found = (_mend(error) for error in sorted(errors, key=lambda error: error.json_path))
    return list(dict.fromkeys(found))


TYPES = {
    "object": "An object",
    "array": "A list",
    "string": "Text",
    "integer": "A whole number",
    "boolean": "true or false",
}


def _mend(error: ValidationError) -> Place:
    """Say what to do about an error, at its place."""
    pointer = "".join(f"/{_escaped(str(each))}" for each in error.absolute_path)
    wanted: Any = error.validator_value
    given: Any = error.instance
    match error.validator:
        case "required":
            return Place(pointer, f"Say {', '.join(name for name in wanted if name not in given)}.")
        case "additionalProperties":
            known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
            names = [str(name)[:60] for name in given if name not in known]
            return Place(pointer, f"Not known here: {', '.join(names)}.")
        case "enum":
            return Place(pointer, f"One of {', '.join(map(str, wanted))}.")
        case "not" if pointer == "/key":
            names = list(RESERVED)
            return Place(pointer, f"Another key: {', '.join(names)} are addresses of these pages.")
        case "type":
            return Place(pointer, f"{TYPES.get(str(wanted), str(wanted))}.")
        case "maxLength":
            return Place(pointer, f"At most {wanted:,} characters.")
        case "maxItems":
            return Place(pointer, f"At most {wanted:,}.")
        case "minLength" if wanted == 1:
            return Place(pointer, "Say something here.")
        case "pattern" if error.validator_value == KEY:
            return Place(pointer, "Small letters, digits, “_” and “-”, a letter first, at most 60.")
        case "pattern":
            about = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
            form = (
                "not blank" if wanted == r"\S" else f"of the form {str(wanted).removesuffix(END)}"
            )
            words = f"{about}: {form}." if about else f"{form[:1].upper()}{form[1:]}."
            return Place(pointer, words[:300])
    return Place(pointer, error.message[:300])


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
