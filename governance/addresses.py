"""Where something is shown, for a page that names it by what a row says."""

from __future__ import annotations

from django.urls import NoReverseMatch, reverse


def page_of_request(ref: str) -> str:
    """Return the path of a request's page; "" for what is no ref of ours.

    Such a row was forged. Whoever shows it names it all the same: `verify_ledger` finds it.
    """
    try:
        return reverse("approvals:request", args=[ref])
    except NoReverseMatch:
        return ""
