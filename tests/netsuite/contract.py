"""What is known of SuiteTalk REST, a numbered sentence each; tests say which of them they are about.

`test_citations.py` fails for a sentence that no test cites. Each says where it is
from: the vendor's documentation (D), third parties (T), or recollection that nobody
has checked (R). None has been tried on a server of the vendor.
"""

from __future__ import annotations

SENTENCES = {
    "N1": ("D", "Access is by OAuth 2.0 with the client's own credentials."),
    "N2": ("D", "The client's assertion is a JWT, by PS256, PS384, PS512, ES256, ES384 or ES512."),
    "N3": ("D", "Its header `kid` is the id of the certificate."),
    "N4": ("D", "Its `exp` is less than 60 minutes after its `iat`."),
    "N5": (
        "D",
        "Its `iss` is the client's id, its `aud` the token endpoint, and it names its scope.",
    ),
    "N6": ("D", "X-NetSuite-Idempotency-Key acts together with Prefer: respond-async."),
    "N7": ("D", "It is ignored on a synchronous call."),
    "N8": (
        "D",
        "A duplicate is answered 400 IDEMPOTENCY_ERROR, with the Location of the first job.",
    ),
    "N9": (
        "D",
        "A job is accepted with 202 and a Location, and tells whether it is `completed`.",
    ),
    "N10": ("D", "PUT of eid:<external id> makes the record, or writes over the one that is there."),
    "N11": ("D", "So a replay of it rewrites the record."),
    "N12": ("D", "POST vendorPayment pays what `apply.items` name: doc, apply, amount."),
    "N13": ("D", "A bill is transformed into a payment at vendorBill/{id}/!transform/vendorPayment."),
    "N14": ("D", "A bill is transformed into a credit at vendorBill/{id}/!transform/vendorCredit."),
    "N15": ("D", "What was made is answered 204, with its Location."),
    "N16": ("D", "An error has type, title, status and o:errorDetails, each with a detail and a code."),
    "N17": ("T", "Too many calls at once are answered 429."),
    "N18": ("D", "No ETag is documented: what tells a change is lastModifiedDate."),
    "R1": ("R", "A token that has run out is answered 401."),
    "R2": ("R", "A 429 says in Retry-After how long to wait."),
    "R3": ("R", "Two records of a type do not have one external id: the second is refused."),
    "R4": ("R", "A record is read at eid:<external id>, and at its id."),
    "R5": ("R", "A record that is not there is answered 404 NONEXISTENT_ID, in the form of every error."),
    "R6": ("R", "Amounts are numbers."),
    "R7": ("R", "A credit made from a bill is applied to what is owed of it; the rest stands open."),
    "R8": ("R", "A job that could not do it ends with the progress `failed`."),
}  # fmt: skip


def cites(*numbers):
    """Say which sentences a test is about."""
    unknown = set(numbers) - set(SENTENCES)
    if not numbers or unknown:
        raise LookupError(f"there is no sentence {', '.join(sorted(unknown))}")

    def keep(test):
        test.cites = numbers
        return test

    return keep
