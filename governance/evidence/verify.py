#!/usr/bin/env python3
"""Checks an evidence pack of Recourse: python3 verify.py [PACK] [--seals PATH] [--key BASE64]

PACK is the zip or the folder it was taken out to; without it, the folder in which
this file stands. Python 3.9 or later, and nothing else, is needed. Each check is a
line; exit 0 means that all of them hold, exit 1 that one does not, and which.

Whoever could change the pack could change this file too. Take it from a pack or a
person you trust: it is the same in every pack of one version of Recourse.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import io
import json
import sys
import zipfile
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

MANIFEST, SIGNATURE, ITSELF = "manifest.json", "signature.json", "verify.py"
NAME_LENGTH = 120  # of who did it, as the record writes it
VERSION = 1  # of what the hashes of events and seals, and signatures, cover
SEALS = "seals"  # the chain of the seals
LATE_S = 60 * 60  # that a seal may come after its events, where the clock is the wall's
MOST = 5  # reasons that a claim gives

Files = Dict[str, bytes]
IsGood = Callable[[bytes, bytes, bytes], bool]  # (public key, signature, message)
Point = Tuple[int, int, int, int]


# --- Signatures: Ed25519. Source: RFC 8032, 5.1 ---------------------------------------------

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, PRIME - 2, PRIME) % PRIME
ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)
BASE = (4 * pow(5, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little")


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature is good. Strict: no second spelling of a point or a number is taken."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, nonce, base = _point(public), _point(signature[:32]), _point(BASE)
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or nonce is None or base is None or scalar >= ORDER:
        return False
    hashed = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(hashed, "little") % ORDER
    left, right = _times(scalar, base), _sum(nonce, _times(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % PRIME == 0 and (
        left[1] * right[2] - right[1] * left[2]
    ) % PRIME == 0


def _point(encoded: bytes) -> Optional[Point]:
    number = int.from_bytes(encoded, "little")
    is_odd, y = number >> 255, number & (2**255 - 1)
    if y >= PRIME:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, PRIME - 2, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * ROOT_OF_MINUS_ONE % PRIME
    if (x * x - square) % PRIME or (x == 0 and is_odd):
        return None
    if x & 1 != is_odd:
        x = PRIME - x
    return x, y, 1, x * y % PRIME


def _sum(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0])
    b = (one[1] + one[0]) * (other[1] + other[0])
    c = 2 * one[3] * other[3] * D
    d = 2 * one[2] * other[2]
    e, f, g, h = (b - a) % PRIME, (d - c) % PRIME, (d + c) % PRIME, (b + a) % PRIME
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def _times(number: int, point: Point) -> Point:
    found = (0, 1, 1, 0)
    while number:
        if number & 1:
            found = _sum(found, point)
        point, number = _sum(point, point), number >> 1
    return found


# --- One way to write a value down. Source: RFC 8785 ----------------------------------------


def canonical(value: Any) -> bytes:
    """Return a JSON value as RFC 8785 writes it."""
    return _written(value).encode()


def _written(value: Any) -> str:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{%s}" % ",".join(f"{_written(name)}:{_written(value[name])}" for name in names)
    if isinstance(value, list):
        return "[%s]" % ",".join(map(_written, value))
    if isinstance(value, float):
        return _float(value)
    return json.dumps(value, ensure_ascii=False)


def _float(value: float) -> str:
    """Write a number as ECMAScript does: the digits of Python's `repr`, otherwise arranged."""
    if value == 0:
        return "0"
    sign, found, exponent = Decimal(repr(value)).normalize().as_tuple()
    digits, whole = "".join(map(str, found)), len(found) + int(exponent)
    if len(digits) <= whole <= 21:
        text = digits + "0" * (whole - len(digits))
    elif 0 < whole <= 21:
        text = f"{digits[:whole]}.{digits[whole:]}"
    elif -6 < whole <= 0:
        text = f"0.{'0' * -whole}{digits}"
    else:
        fraction = f".{digits[1:]}" if digits[1:] else ""
        text = f"{digits[0]}{fraction}e{'+' if whole > 0 else '-'}{abs(whole - 1)}"
    return f"-{text}" if sign else text


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- Trees. Source: RFC 6962, 2.1 -----------------------------------------------------------


def root_by(leaf: bytes, position: int, size: int, path: List[str]) -> str:
    """Return the root to which a leaf leads by its path; "" if the path is not of this tree."""
    node, last, rest = hashlib.sha256(b"\0" + leaf).digest(), size - 1, list(path)
    if not 0 <= position < size:
        return ""
    while last:
        is_right = position % 2
        if is_right or position < last:
            if not rest:
                return ""
            beside = bytes.fromhex(rest.pop(0))
            pair = beside + node if is_right else node + beside
            node = hashlib.sha256(b"\1" + pair).digest()
        position, last = position // 2, last // 2
    return "" if rest else node.hex()


# --- The pack -------------------------------------------------------------------------------


class Wrong(Exception):
    """One thing that does not hold: the file, and what."""


class Note(str):
    """Something that a reader should know, and that is not wrong."""


class Unproven(Note):
    """Something that nothing contradicts, and that the record does not bear out either."""


class Pack:
    """The files of a pack, and what was found in them."""

    def __init__(self, files: Files, is_good: IsGood = is_signed) -> None:
        self.files = files
        self.is_good = is_good  # whoever makes packs has a faster one
        self.parsed: Dict[str, Any] = {}
        self.wrongs: List[str] = []
        self.keys: Dict[str, bytes] = {}
        self.claims: List[Dict[str, str]] = []  # what, file, standing, why

    def read(self, name: str) -> Any:
        if name not in self.files:
            raise Wrong(f"{name}: is missing")
        if name not in self.parsed:
            try:
                self.parsed[name] = json.loads(self.files[name])
            except ValueError as problem:
                raise Wrong(f"{name}: is no JSON: {problem}") from problem
        return self.parsed[name]

    def events(self) -> List[Any]:
        found: List[Any] = self.read("events.json")
        return found

    def event(self, place: Any) -> Any:
        """Return the event that stands at [chain, seq]; None where a file names none."""
        if place is None:
            return None
        for each in self.events():
            if [each["chain"], each["seq"]] == place:
                return each
        raise Wrong(f"events.json: event {place[1]} of {place[0]} is missing")

    def own(self) -> List[Any]:
        """Return the events of the request itself, of whose chain all are here."""
        name = self.read("pack.json")["chain"]["name"]
        return [each for each in self.events() if each["chain"] == name]

    def asked(self) -> Any:
        """Return the event by which it was asked."""
        own = self.own()
        if not own or own[0]["kind"] != "request.submitted":
            raise Wrong("events.json: the chain does not begin with a request")
        return own[0]

    def look(self, what: str, file: str, check: Check) -> Tuple[List[str], List[str]]:
        """Make one check and return what is wrong, and notes. Whatever it stumbles over is wrong too."""
        notes: List[str] = []
        wrongs: List[str] = []
        try:
            for said in check(self):
                (notes if isinstance(said, Note) else wrongs).append(said)
        except Wrong as problem:
            wrongs.append(str(problem))
        except Exception as problem:
            wrongs.append(f"{file}: cannot be read: {type(problem).__name__} {problem}")
        if (what, file, check) in RECORD:
            unproven = [each for each in notes if isinstance(each, Unproven)]
            standing = "contradicted" if wrongs else "stated" if unproven else "proven"
            why = "; ".join(said.replace("note: ", "") for said in [*wrongs, *unproven][:MOST])
            self.claims.append({"what": what, "file": file, "standing": standing, "why": why})
        return wrongs, notes

    def check(self, what: str, file: str, check: Check) -> None:
        """Make one check and print what came of it."""
        wrongs, notes = self.look(what, file, check)
        print(f"{'WRONG' if wrongs else 'ok   '} {what}")
        for said in [*wrongs, *notes]:
            print(f"      {said}")
        self.wrongs += wrongs


Check = Callable[[Pack], Iterator[str]]


def files_of(place: Path) -> Files:
    if place.is_dir():
        found = [each for each in sorted(place.rglob("*")) if each.is_file()]
        return {each.relative_to(place).as_posix(): each.read_bytes() for each in found}
    with zipfile.ZipFile(place) as archive:
        names = [each for each in archive.namelist() if not each.endswith("/")]
        if len({name.partition("/")[:2] for name in names}) > 1:
            raise Wrong(f"{place}: holds more than the folder of one pack")
        if len(set(names)) < len(names):
            raise Wrong(f"{place}: holds two files of one name")
        return {name.partition("/")[2]: archive.read(name) for name in names}


# --- Checks: each yields what is wrong, or a note -------------------------------------------


def every_file(pack: Pack) -> Iterator[str]:
    listed = pack.read(MANIFEST)["files"]
    for name, said in listed.items():
        if name not in pack.files:
            yield f"{name}: is missing"
        elif sha256(pack.files[name]) != said:
            yield f"{name}: is not as it was packed"
    for name in sorted(set(pack.files) - set(listed) - {MANIFEST, SIGNATURE}):
        yield f"{name}: is not of this pack"


def the_keys(pack: Pack) -> Iterator[str]:
    for each in pack.read("keys.json"):
        public = base64.b64decode(each["public_key"], validate=True)
        if sha256(public)[:16] != each["key_id"]:
            yield f"keys.json: {each['key_id']} is not the name of its key"
        pack.keys[each["key_id"]] = public


def the_signature(pack: Pack) -> Iterator[str]:
    said = pack.read(SIGNATURE)
    if canonical(said) + b"\n" != pack.files[SIGNATURE] or set(said) != {"key_id", "signature"}:
        raise Wrong(f"{SIGNATURE}: is not as it was written")
    message = canonical(["evidence", VERSION, sha256(pack.files[MANIFEST])])
    yield from _signed(pack, SIGNATURE, said["key_id"], said["signature"], message)


def _signed(pack: Pack, name: str, key_id: str, signature: str, message: bytes) -> Iterator[str]:
    try:
        written = bytes.fromhex(signature)
    except ValueError:
        written = b""
    if key_id not in pack.keys:
        yield f"{name}: is signed with key {key_id}, which is not in keys.json"
    elif written.hex() != signature:
        yield f"{name}: its signature is not as it was written"
    elif not pack.is_good(pack.keys[key_id], written, message):
        yield f"{name}: its signature is not good"


def every_event(pack: Pack) -> Iterator[str]:
    for each in pack.events():
        fields = ("chain", "seq", "kind", "actor", "on_behalf_of", "facts", "cause", "at")
        body = [VERSION, *(each[name] for name in fields), each["prev_hash"]]
        if sha256(canonical(body)) != each["hash"]:
            yield f"{_place(each)}: its content does not give its hash"


def the_chain(pack: Pack) -> Iterator[str]:
    said = pack.read("pack.json")["chain"]
    name, before = said["name"], genesis(said["name"])
    own = pack.own()
    if pack.read("pack.json")["subject"]["ref"] != name:
        yield "pack.json: is about another request than its chain"
    for seq, each in enumerate(own, 1):
        if each["seq"] != seq:
            raise Wrong(f"events.json: event {seq} of {name} is missing, or stands elsewhere")
        if each["prev_hash"] != before:
            yield f"{_place(each)}: does not follow the event before it"
        before = each["hash"]
    if len(own) < said["length"]:
        lost = f"event {len(own) + 1} of {name} is missing"
        yield f"events.json: {lost}: the chain does not end where pack.json says"
    elif [len(own), before] != [said["length"], said["hash"]]:
        yield f"events.json: the chain {name} does not end where pack.json says"


def genesis(chain: str) -> str:
    return sha256(f"recourse ledger {VERSION} {chain}".encode())


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _place(event: Any) -> str:
    return f"events.json: event {event['seq']} of {event['chain']} ({event['kind']})"


def every_proof(pack: Pack) -> Iterator[str]:
    sealed = {each["number"]: each for each in pack.read("seals.json")}
    places: Dict[Tuple[int, int], Any] = {}
    late = timedelta(seconds=pack.read("pack.json")["late_s"])
    if late != timedelta(seconds=LATE_S):
        yield Note(
            "note: pack.json: its clock ran faster than the wall's, as that of a demo does: "
            f"what has a seal within {late} is taken as sealed in time"
        )
    for each in pack.events():
        proof = each["proof"]
        if proof is None:
            yield Unproven(
                f"note: {_place(each)} was not sealed yet when the pack was made; "
                "a seal is made each minute, and a later pack has it"
            )
            continue
        seal = sealed.get(proof["seal"])
        if seal is None:
            yield f"{_place(each)}: its seal {proof['seal']} is missing"
            continue
        leaf = bytes.fromhex(each["hash"])
        root = root_by(leaf, proof["position"], seal["size"], proof["path"])
        if root != seal["root"]:
            yield f"{_place(each)}: its proof does not lead to the root of seal {seal['number']}"
        earlier = sealed.get(seal["number"] - 1)
        latest = _instant(each["at"]) + late
        if earlier is not None and latest < _instant(earlier["sealed_at"]):
            yield Unproven(
                f"note: {_place(each)} has no seal of its own time: it was put there, or written "
                f"anew, after seal {earlier['number']}"
            )
        elif latest < _instant(seal["sealed_at"]):
            yield Unproven(
                f"note: {_place(each)} was sealed late, by seal {seal['number']} at "
                f"{seal['sealed_at']}: nothing shows that it was not written just before"
            )
        other = places.setdefault((proof["seal"], proof["position"]), each)
        if other is not each:
            yield f"{_place(each)}: has the leaf of {_place(other)}"


def every_seal(pack: Pack) -> Iterator[str]:
    before: Any = None
    for each in pack.read("seals.json"):
        name = f"seals.json: seal {each['number']}"
        fields = ("number", "root", "size", "prev_hash", "key_id", "sealed_at")
        body = canonical([VERSION, *(each[field] for field in fields)])
        if sha256(body) != each["hash"]:
            yield f"{name}: its content does not give its hash"
        if "signature" in each:
            yield from _signed(pack, name, each["key_id"], each["signature"], body)
        if before is not None and each["number"] <= before["number"]:
            yield f"{name}: stands out of order"
        if each["number"] == 1 and each["prev_hash"] != genesis(SEALS):
            yield f"{name}: is not a first seal"
        if before is not None and each["number"] == before["number"] + 1:
            if each["prev_hash"] != before["hash"]:
                yield f"{name}: does not follow the seal before it"
        elif before is not None:
            gap = f"{before['number']} and {each['number']}"
            yield Note(f"note: the seals between {gap} are not in the pack: compare with --seals")
            if "signature" not in before:
                yield f"seals.json: seal {before['number']}: nothing says that it is ours"
        before = each
    if before is not None and "signature" not in before:
        yield f"seals.json: seal {before['number']}: nothing says that it is ours"


def what_was_asked(pack: Pack) -> Iterator[str]:
    said, event = pack.read("request.json"), pack.asked()
    facts, covered = event["facts"], said["covered"]
    recorded = {name: facts[name] for name in ("title", "justification", "digest")}
    recorded |= {"ref": event["chain"], "submitted_at": event["at"]}
    named = {name for name in said if name not in ("covered", "hidden", "salted", "told")}
    yield from _differences("request.json", {name: said[name] for name in named}, recorded)
    same = ("action", "version", "amount", "currency", "department", "resource", "business_key")
    recorded = {name: facts[name] or None for name in (*same, "severity", "impact")}
    recorded |= {"agent": event["actor"], "on_behalf_of": event["on_behalf_of"] or None}
    shown = {name: covered.get(name) or None for name in recorded}
    shown["agent"] = f"agent:{shown['agent']}"[:NAME_LENGTH]
    if shown["on_behalf_of"]:
        shown["on_behalf_of"] = f"person:{shown['on_behalf_of']}"[:NAME_LENGTH]
    yield from _differences("request.json", shown, recorded)
    if said["hidden"] != _redacted(pack, "payload"):
        yield "request.json: other fields are left out than the action type says"
    if said["hidden"] and not said["salted"]:
        yield Unproven(
            "note: request.json: the digest cannot be computed from this, and has no salt: who "
            f"knows the values that {', '.join(said['hidden'])} can have finds which it is"
        )
    elif sha256(canonical(covered)) != said["digest"]:
        yield "request.json: what was asked does not give its digest"


def _differences(name: str, said: Dict[str, Any], recorded: Dict[str, Any]) -> Iterator[str]:
    for each in sorted({*said, *recorded}):
        if each not in said or each not in recorded or said[each] != recorded[each]:
            yield f"{name}: its {each} is not the one that was recorded"


def _redacted(pack: Pack, where: str) -> List[str]:
    """Return the pointers that the action type has left out of packs."""
    found: List[str] = pack.read("action.json")["definition"].get("redacted", {}).get(where, [])
    return found


DECIDED = (
    "path", "level", "verdict", "digest", "severity", "note", "via", "bypass",
    "reauthenticated_at", "order", "refuse",
)  # fmt: skip


def the_decisions(pack: Pack) -> Iterator[str]:
    left = {each["seq"] for each in pack.own() if each["kind"] == "step.decided"}
    for number, said in enumerate(pack.read("decisions.json"), 1):
        event = pack.event(said["event"])
        name = f"decisions.json: decision {number}"
        if event is None:
            yield f"{name}: no event records it"
            continue
        if event not in pack.own() or event["kind"] != "step.decided":
            yield f"{name}: event {event['seq']} of {event['chain']} is no decision on this request"
        elif event["seq"] not in left:
            yield f"{name}: event {event['seq']} is that of another decision here"
        left.discard(event["seq"])
        facts = {each: event["facts"][each] for each in DECIDED if each in event["facts"]}
        recorded = {**facts, "actor": event["actor"], "at": event["at"]}
        shown = {each: said[each] for each in said if each not in ("event", "told")}
        yield from _differences(name, shown, recorded)
    for seq in sorted(left):
        yield f"decisions.json: the decision of event {seq} is left out"


FOUND = ("finding", "note", "roll_back", "outcome", "reference", "said_by")


def the_review(pack: Pack) -> Iterator[str]:
    subject = pack.read("pack.json")["subject"]
    if subject["review"] is None:
        if "review.json" in pack.files:
            yield "review.json: the pack is about no review"
        return
    said = pack.read("review.json")
    if said["review"] != subject["review"]:
        yield "review.json: is another review than the one that the pack is about"
    for part, names in (("opened", ("reason", "replaced")), ("closed", FOUND)):
        if said[part] is None:
            continue
        event = pack.event(said[part]["event"])
        if event is None:
            yield f"review.json: no event of the record {part} it"
            continue
        if event not in pack.own() or event["kind"] != f"review.{part}":
            yield f"review.json: event {event['seq']} of {event['chain']} {part} no review of this"
        facts = {each: event["facts"][each] for each in names if each in event["facts"]}
        recorded = {**facts, "kind": event["facts"]["review"], "at": event["at"]}
        shown = {each: said[part][each] for each in said[part] if each != "event"}
        if part == "closed":
            recorded["actor"] = event["actor"]
        yield from _differences(f"review.json: {part}", shown, recorded)
    opened, closed = said["opened"], said["closed"]
    if closed is not None and closed["event"] is not None:
        event = pack.event(closed["event"])
        of = (
            closed["kind"],
            event["facts"].get("opened_at", opened["at"]),
        )  # older ones do not say
        if of != (opened["kind"], opened["at"]):
            yield "review.json: was closed by the closing of another review"
    same = [each for each in pack.own() if each["facts"].get("review") == opened["kind"]]
    openings = [each["at"] for each in same if each["kind"] == "review.opened"]
    closings = [each["facts"].get("opened_at") for each in same if each["kind"] == "review.closed"]
    named = closings.count(opened["at"]) >= openings.count(opened["at"])
    if closed is None and (named or len(closings) >= len(openings)):
        yield "review.json: it stands open, and the record closed it"


def the_action(pack: Pack) -> Iterator[str]:
    asked = pack.asked()["facts"]
    wanted = {"action": asked["action"], "version": asked["version"]}
    yield from _recorded(pack, "action.json", "definition", "action_type.entered", wanted)


def the_policy(pack: Pack) -> Iterator[str]:
    asked = pack.asked()["facts"]
    if pack.read("policy.json")["matrix_row"] != asked["matrix_row"]:
        yield "policy.json: another row of the matrix routed the request"
    wanted = {"number": asked["policy"]}
    yield from _recorded(pack, "policy.json", "content", "policy.activated", wanted)


def _recorded(
    pack: Pack, name: str, field: str, kind: str, wanted: Dict[str, Any]
) -> Iterator[str]:
    """Check a document: that it is what the request was routed by, and has the digest that was recorded."""
    said = pack.read(name)
    for each in wanted:
        if said[each] != wanted[each]:
            yield f"{name}: is {each} {said[each]}, and the request was routed by {wanted[each]}"
    event = pack.event(said["event"])
    if event is None:
        yield Unproven(f"note: {name} is stated, not proven: no event of the record has its digest")
        return
    if event["kind"] != kind or any(event["facts"].get(each) != said[each] for each in wanted):
        yield f"{name}: event {event['seq']} of {event['chain']} speaks of something else"
    recorded = event["facts"].get(field)
    if not recorded:
        yield Unproven(f"note: {name} is stated, not proven: the record has no digest of it")
    elif said["written"] == "sorted":
        text = json.dumps(said[field], sort_keys=True, separators=(",", ":"))
        if sha256(text.encode()) != recorded:
            yield f"{name}: is not the {field} that was recorded"
    elif sha256(canonical(said[field])) != recorded:
        yield f"{name}: is not the {field} that was recorded"


def the_snapshots(pack: Pack) -> Iterator[str]:
    taken, left = _last(pack, "snapshot.taken"), _last(pack, "snapshot.compared")
    entries = pack.read("snapshots.json")
    names = [said["record"] for said in entries]
    for record in sorted({*taken, *left} - {*names}):
        yield f"snapshots.json: {record} is left out, which the record has"
    for said in entries:
        record = said["record"]
        if names.count(record) > 1:
            yield f"snapshots.json: {record} stands there more than once"
        for side, events, at in (("before", taken, "taken_at"), ("after", left, "left_at")):
            name, state, event = f"snapshots.json: {record} {side}", said[side], events.get(record)
            if state is None and event is None and side == "after":
                continue
            if state is None or event is None:
                yield f"{name}: {'no event records it' if event is None else 'is left out'}"
                continue
            if state["event"] != [event["chain"], event["seq"]]:
                yield f"{name}: is said to be of another event than the last one of this record"
            if said[at] != event["at"]:
                yield f"{name}: was not read at this instant"
            if side == "before" and said["version"] != event["facts"]["version"]:
                yield f"{name}: its version is not the one that was recorded"
            withheld = {each["pointer"] for each in state["fields"] if "salt" not in each}
            if withheld - {*_redacted(pack, "records")}:
                yield f"{name}: other fields are left out than the action type says"
            recorded = event["facts"].get("state")
            if not recorded:
                yield Unproven(
                    f"note: {name} is stated, not proven: the record has no digest of it"
                )
            elif digest_of_state(state["fields"]) != recorded:
                yield f"{name}: is not the state that was recorded"


def _last(pack: Pack, kind: str) -> Dict[str, Any]:
    """Return by record the last event of a kind."""
    return {each["facts"]["record"]: each for each in pack.own() if each["kind"] == kind}


def digest_of_state(fields: List[Any]) -> str:
    """Return the digest of a record's state, of which hidden fields show their digest alone."""
    found = []
    for each in fields:
        if "salt" in each:
            shown = canonical([each["salt"], each["pointer"], each["value"]])
            found.append([each["pointer"], sha256(shown)])
        else:
            found.append([each["pointer"], each["digest"]])
    return sha256(canonical(sorted(found)))


def no_more_than_proven(pack: Pack) -> Iterator[str]:
    said = {each["what"]: each["standing"] for each in pack.read("pack.json")["claims"]}
    for each in pack.claims:
        if said.pop(each["what"], None) != each["standing"]:
            yield f"pack.json: does not say that this is {each['standing']}: {each['what']}"
    for what in sorted(said):
        yield f"pack.json: nothing here shows that {what}"


def claims_of(pack: Pack) -> List[Dict[str, str]]:
    """Return what a pack may claim, for whoever makes one: its page says what this file finds."""
    for what, file, check in [KEYS, *RECORD]:
        pack.look(what, file, check)
    return pack.claims


def exported_to(place: Path) -> Iterator[Any]:
    for source in sorted(place.glob("*.jsonl")) if place.is_dir() else [place]:
        with source.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def compared_with(place: Path) -> Check:
    """Return a check of the seals against those that were exported outside the database."""

    def check(pack: Pack) -> Iterator[str]:
        wanted = {each["number"]: each for each in pack.read("seals.json")}
        found = {each["number"]: each for each in exported_to(place) if each["number"] in wanted}
        for number, each in wanted.items():
            if number not in found:
                yield f"seals.json: seal {number}: was not exported to {place}"
            elif any(found[number][field] != each[field] for field in each):
                yield f"seals.json: seal {number}: is not the one exported to {place}"

    return check


def signer_was_exported(pack: Pack, place: Optional[Path]) -> bool:
    """Whether the key that signed the pack also signed a seal that was exported outside the database."""
    signer = base64.b64encode(pack.keys[pack.read(SIGNATURE)["key_id"]]).decode()
    return any(each.get("public_key") == signer for each in exported_to(place)) if place else False


def known(key: str) -> Check:
    """Return a check that the pack is signed with a key that the reader knows from elsewhere."""

    def check(pack: Pack) -> Iterator[str]:
        signer = pack.keys.get(pack.read(SIGNATURE)["key_id"], b"")
        if not hmac.compare_digest(signer, base64.b64decode(key, validate=True)):
            yield f"{SIGNATURE}: is not signed with the key that you named"

    return check


KEYS: Tuple[str, str, Check] = ("the keys are named rightly", "keys.json", the_keys)
RECORD: List[Tuple[str, str, Check]] = [
    ("each event gives its hash", "events.json", every_event),
    ("the events follow each other, without a gap", "events.json", the_chain),
    ("each event is a leaf of its seal", "events.json", every_proof),
    ("each seal is signed and follows the one before", "seals.json", every_seal),
    ("what was asked gives the digest that was decided on", "request.json", what_was_asked),
    ("the decisions are the recorded ones, and all of them", "decisions.json", the_decisions),
    ("the review is the recorded one, if the pack is about one", "review.json", the_review),
    ("the definition of the action is the one it was asked by", "action.json", the_action),
    ("the policy is the one it was routed by", "policy.json", the_policy),
    ("the snapshots are the recorded ones, and all of them", "snapshots.json", the_snapshots),
]
CHECKS: List[Tuple[str, str, Check]] = [
    ("each file is as it was packed", MANIFEST, every_file),
    KEYS,
    ("the list of files is signed", SIGNATURE, the_signature),
    *RECORD,
    ("the pack claims no more than it proves", "pack.json", no_more_than_proven),
]


def main() -> List[str]:
    parser = argparse.ArgumentParser(description="Check an evidence pack of Recourse.")
    parser.add_argument("pack", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--seals", type=Path, help="the exported seals: a file or its folder")
    parser.add_argument("--key", help="the public key that you know from elsewhere, in base64")
    given = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a console may not know all letters
    try:
        pack = Pack(files_of(given.pack))
    except Exception as problem:
        sys.exit(f"{given.pack}: cannot be read: {problem}")
    for each in CHECKS:
        pack.check(*each)
    if given.seals is not None:
        said = "the seals are those that were exported"
        pack.check(said, str(given.seals), compared_with(given.seals))
    if given.key is not None:
        pack.check("it is signed with the key that you named", SIGNATURE, known(given.key))
    if pack.wrongs:
        sys.exit(f"{len(pack.wrongs)} things are wrong. Do not rely on this pack.")
    # Once more, and by other means: a change of this file may have made it blind to changes.
    if sha256(pack.files[ITSELF]).encode() not in pack.files[MANIFEST]:
        sys.exit(f"{ITSELF}: is not as it was packed. Do not rely on this pack.")
    subject = pack.read("pack.json")["subject"]
    of = f", review {subject['review']}" if subject["review"] is not None else ""
    print(f"Everything holds that this pack can prove: {subject['ref']}{of}.")
    print("These files were checked. index.html tells them as whoever signed the pack wrote it.")
    for key_id, public in pack.keys.items():
        print(f"Public key {key_id}: {base64.b64encode(public).decode()}")
    if given.key is None and not signer_was_exported(pack, given.seals):
        print("Compare a key with one that you know from elsewhere: the pack vouches for its own.")
    return pack.wrongs


# Two lines, so that no single changed character can keep it from running without a word.
verdict = {"tested": list}.get(__name__, main)()
del verdict
