"""What people send from the pages. Errors say the mend, not the fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from approvals.services import compliance, handover, mending, violations
from approvals.services.cleanups import OUTCOMES, REFERENCE_LENGTH
from approvals.services.decide import NOTE_LENGTH
from approvals.services.findings import FINDINGS
from approvals.services.questions import QUESTION_LENGTH
from approvals.services.reviews import REASON_LENGTH
from approvals.story.conflict import REFUSED
from governance import cel
from governance.vocabulary import Severity, Verdict


class DecisionForm(forms.Form):
    """A verdict on what the page showed. Who may give it is `services.decide`'s to say."""

    verdict = forms.ChoiceField(
        choices=[(Verdict.APPROVE.value, "Approve"), (Verdict.REJECT.value, "Reject")],
        error_messages={
            "required": "Choose one: approve or reject.",
            "invalid_choice": "Choose one: approve or reject.",
        },
    )
    note = forms.CharField(
        required=False,
        max_length=NOTE_LENGTH,
        error_messages={
            "max_length": "Keep the note under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )
    severity = forms.ChoiceField(
        choices=Severity.choices,
        required=False,
        error_messages={"invalid_choice": "Say how serious it is: low, medium or high."},
    )
    digest = forms.CharField(
        max_length=64,
        error_messages={"required": "Open the request again: this form has lost what it is about."},
    )


class FindingForm(forms.Form):
    """What a review found. Who may say so is `services.findings`'s to say."""

    finding = forms.ChoiceField(
        choices=[(each.value, each.label) for each in FINDINGS],
        error_messages={
            "required": "Choose what you found.",
            "invalid_choice": "Choose what you found.",
        },
    )
    note = forms.CharField(
        max_length=REASON_LENGTH,
        error_messages={
            "required": "Say what you found. Whoever overrode others will read it.",
            "max_length": "Keep it under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )
    roll_back = forms.BooleanField(required=False)


class SettledForm(forms.Form):
    """What became by hand of what was stranded."""

    outcome = forms.ChoiceField(
        choices=[(each.value, each.label) for each in OUTCOMES],
        error_messages={"required": "Choose what holds in the target now."},
    )
    reference = forms.CharField(
        max_length=REFERENCE_LENGTH,
        error_messages={
            "required": "Give the target's reference of what you did there.",
            "max_length": "Keep it under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )
    note = forms.CharField(
        max_length=REASON_LENGTH,
        error_messages={
            "required": "Say what was done by hand. The second person checks it against the target.",
            "max_length": "Keep it under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )


class SeveralForm(forms.Form):
    """A note on each of several requests that are approved together."""

    note = forms.CharField(
        required=False,
        max_length=NOTE_LENGTH,
        error_messages={
            "max_length": "Keep the note under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )


class MendForm(forms.Form):
    """How a failure goes on. Who may say so is `services.mending`'s to say."""

    verdict = forms.ChoiceField(
        choices=[(each.value, each.label) for each in mending.ANSWERS],
        error_messages={
            "required": "Choose what should happen.",
            "invalid_choice": "Choose what should happen.",
        },
    )
    note = forms.CharField(
        required=False,
        max_length=NOTE_LENGTH,
        error_messages={
            "max_length": "Keep the note under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )
    digest = forms.CharField(
        max_length=64,
        error_messages={"required": "Open the request again: this form has lost what it is about."},
    )


class HandOverForm(forms.Form):
    """To whom an ask is handed over, and why. Whether it may be is `services.handover`'s to say."""

    to = forms.CharField(
        max_length=150, error_messages={"required": "Choose to whom you hand it over."}
    )
    note = forms.CharField(
        required=False,
        max_length=handover.NOTE_LENGTH,
        error_messages={
            "max_length": "Keep the note under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )


class QuestionForm(forms.Form):
    """What somebody who is asked wants to know from the agent first."""

    question = forms.CharField(
        max_length=QUESTION_LENGTH,
        error_messages={
            "required": "Write what you want to know.",
            "max_length": "Keep it under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )


class ComplianceForm(forms.Form):
    """A verdict on a violation. Who may give it is `services.compliance`'s to say."""

    verdict = forms.ChoiceField(
        choices=[(each.value, each.label) for each in compliance.VERDICTS],
        error_messages={
            "required": "Choose one: deny, let it pass, or ask for a change.",
            "invalid_choice": "Choose one: deny, let it pass, or ask for a change.",
        },
    )
    note = forms.CharField(
        max_length=NOTE_LENGTH,
        error_messages={
            "required": "Say why. Everybody asked about this and the auditors will read it.",
            "max_length": "Keep it under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )
    digest = forms.CharField(
        max_length=64,
        error_messages={"required": "Open the request again: this form has lost what it is about."},
    )
    shown = forms.IntegerField(
        min_value=0,
        max_value=10_000,
        error_messages={"required": "Open the request again: this form has lost what it is about."},
    )


class ReportForm(forms.Form):
    """What somebody of compliance, or an auditor, reports."""

    text = forms.CharField(
        max_length=violations.TEXT_LENGTH,
        error_messages={
            "required": "Say what is wrong. Compliance rules on your sentence.",
            "max_length": "Keep it under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )


class BenchForm(forms.Form):
    """An expression, and the request it is tried on."""

    ref = forms.CharField(
        max_length=20,
        error_messages={"required": "Name a request: R-…", "max_length": "That is no reference."},
    )
    expression = forms.CharField(
        max_length=4 * cel.LENGTH, error_messages={"required": "Write an expression."}
    )


class RulingForm(forms.Form):
    """In which order the requests that are held go on, and which of them end.

    With one or two of them a choice names both sides of the ruling, "order|refused";
    with more each is given a place of its own. Who may rule is `services.ruling`'s to say.
    """

    choice = forms.CharField(required=False, max_length=1000)
    note = forms.CharField(
        max_length=NOTE_LENGTH,
        error_messages={
            "required": "Say why. Everybody asked about these requests will read it.",
            "max_length": "Keep it under %(limit_value)d characters; this one has %(show_value)d.",
        },
    )
    digest = forms.CharField(
        max_length=64,
        error_messages={"required": "Open the request again: this form has lost what it is about."},
    )

    def __init__(self, data: Any, *, held: Sequence[str]) -> None:
        """Bind to what was sent about the requests with these refs, as the page showed them."""
        super().__init__(data)
        self._held = held
        for ref in held if "choice" not in self.data else ():
            self.fields[f"place-{ref}"] = forms.CharField(required=False, max_length=10)

    def clean(self) -> dict[str, Any]:
        """Turn it into an order and those refused."""
        cleaned = super().clean() or {}
        chosen = cleaned.pop("choice", "")
        if chosen:
            order, _, refuse = chosen.partition("|")
            return cleaned | {"order": _refs(order), "refuse": _refs(refuse)}
        places = {ref: cleaned.pop(f"place-{ref}", "") for ref in self._held}
        if not places or "" in places.values():
            self.add_error("choice", "Choose what becomes of each request.")
            return cleaned
        if not all(place == REFUSED or place.isdecimal() for place in places.values()):
            self.add_error("choice", "Choose one of the places offered.")
            return cleaned
        going = [ref for ref, place in places.items() if place != REFUSED]
        if len({places[ref] for ref in going}) < len(going):
            self.add_error("choice", "Give each request a place of its own.")
        order_ = sorted(going, key=lambda ref: int(places[ref]))
        return cleaned | {"order": order_, "refuse": [ref for ref in places if ref not in going]}


def _refs(text: str) -> list[str]:
    return [ref for ref in text.split(",") if ref]
