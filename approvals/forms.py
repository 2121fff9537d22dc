"""What people send from the pages. Errors say the mend, not the fault."""

from __future__ import annotations

from django import forms

from approvals.services.decide import NOTE_LENGTH
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
