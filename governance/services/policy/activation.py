"""A draft comes into force: by an admin who edited none of it, present, with no hole that is not there already."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from governance import actors, stepup, wording
from governance.drafting import names as naming
from governance.drafting.book import EMPTY, book_of
from governance.drafting.proving import Proof, prove
from governance.errors import NotYours, Refused, Unprocessable
from governance.ledger import Act
from governance.models import Person, PolicySignature, PolicyVersion
from governance.services.policy.editing import locked_draft, require_admin, require_revision
from governance.stepup import Presence
from governance.vocabulary import Chain, Duty

SIGNATURES = 2  # under a list of holes that stay
SAID = 3  # holes in a refusal; the page shows them all
NOT_ACTIVATED = "The draft was not activated."
NOT_SIGNED = "Nothing was signed."


class Edited(NotYours):
    """Whoever edited a draft does not activate it."""

    problem, title = "edited-by-you", "Somebody else activates it"


class Outdated(Refused):
    """Another version came into force since the draft was begun."""

    problem, title = "draft-outdated", "Another version came into force"


class HasHoles(Unprocessable):
    """The draft would ask nobody where somebody is asked now."""

    problem, title = "draft-has-holes", "This draft can stall"


class NotSigned(Refused):
    """Holes stay, and not enough people have signed that they know."""

    problem, title = "holes-not-signed", "Two people sign the holes that stay"


class ListChanged(Refused):
    """The holes are not those that were shown."""

    problem, title = "holes-changed", "The list has changed"


def matter_of(number: int) -> str:
    """Return what a second factor is given for, to activate a draft."""
    return f"policy-{number}"


def sign(*, number: int, revision: int, actor: Person, digest: str, now: datetime) -> Proof:
    """Put one's name to the holes that a draft keeps, as they were shown.

    Args:
        digest: of the list, `Proof.digest`, as the page showed it.

    Raises:
        ListChanged: the check finds others by now, or none.
        HasHoles: there are holes that nobody may sign, since the version in force lacks them.
        NotYours, NotFound, NotADraft, EditedMeanwhile: as every edit.
    """
    require_admin(actor)
    # Outside the lock: it may take a minute, and on SQLite everybody would wait.
    proof = _proof(number, revision, now)
    _refuse_new(proof, NOT_SIGNED)
    if not proof.kept or proof.digest != digest:
        raise ListChanged(f"The check finds another list by now. {NOT_SIGNED} Look at it again.")
    with transaction.atomic():
        require_admin(actor)  # the check took its time
        draft = locked_draft(number)
        require_revision(draft, revision)
        _put_name(draft, actor, proof, now)
        act = Act(now=now, actor=actors.person(actor))
        act.record_named(
            Chain.POLICY,
            "policy.signed",
            number=number,
            revision=revision,
            holes=[[each.key, each.sentence] for each in proof.kept],
        )
        act.write()
    return proof


def activate(
    *, number: int, revision: int, actor: Person, presence: Presence | None, now: datetime
) -> PolicyVersion:
    """Put a draft into force, in the place of the version that is, in one transaction.

    The check runs before the lock is taken; what it looked at, the draft's
    revision and the version in force, is compared again under it. Of a draft that
    keeps holes the actor signs the list by activating it, and one other admin has
    signed it before.

    Args:
        revision: of the draft, as the actor saw it.
        presence: a second factor for `matter_of(number)`.

    Raises:
        NotYours: no policy administrator. Edited: they edited it.
        NoSecondFactor, StepUpNeeded: they have not shown that it is them.
        Outdated: another version came into force after the draft was begun.
        HasHoles: it has a hole that the version in force lacks.
        NotSigned: it keeps holes, and nobody else has signed all of them.
        NotFound, NotADraft, EditedMeanwhile: as every edit.
    """
    require_admin(actor)
    stepup.required(
        presence, actor=actor, matter=matter_of(number), thing="draft", so=NOT_ACTIVATED
    )
    proof = _proof(number, revision, now)
    with transaction.atomic():
        require_admin(actor)  # the check took its time
        draft = locked_draft(number)
        require_revision(draft, revision)
        active = _locked_active()
        _refuse_outdated(draft, active, proof)
        if draft.editors.filter(pk=actor.pk).exists():
            raise Edited(
                f"You edited draft {number}, so another policy administrator activates it. {NOT_ACTIVATED}"
            )
        _refuse_new(proof, NOT_ACTIVATED)
        if proof.kept:
            _require_signed(draft, actor, proof)
            _put_name(draft, actor, proof, now)
        _swap(draft, active, actor, proof, now)
    return draft


def _proof(number: int, revision: int, now: datetime) -> Proof:
    with transaction.atomic():  # locked_draft says what is wrong with it; the lock goes at once
        draft = locked_draft(number)
        require_revision(draft, revision)
    return prove(draft, now=now)


def _locked_active() -> PolicyVersion | None:
    # The first version's lock keeps those who activate at once apart, with or without one in force:
    # the second sees what the first did.
    PolicyVersion.objects.select_for_update(no_key=True).order_by("number").first()
    found: PolicyVersion | None = PolicyVersion.objects.filter(
        state=PolicyVersion.State.ACTIVE
    ).first()
    return found


def _refuse_outdated(draft: PolicyVersion, active: PolicyVersion | None, proof: Proof) -> None:
    number = None if active is None else active.number
    based_on = None if active is None else active.pk
    if draft.based_on_id == based_on and proof.against == number:
        return
    begun = f"version {draft.based_on.number}" if draft.based_on else "no version"
    raise Outdated(
        f"Draft {draft.number} was begun from {begun}, and by now version {number} is in force:"
        f" activating it would take back what changed between them. {NOT_ACTIVATED}"
        " Begin a draft from what is in force; the matrix can be carried over as a file."
    )


def _refuse_new(proof: Proof, so: str) -> None:
    if not proof.new:
        return
    said = " ".join(each.sentence for each in proof.new[:SAID])
    more = len(proof.new) - SAID
    rest = f" And {wording.plural(more, 'hole')} more." if more > 0 else ""
    raise HasHoles(
        f"The version in force has no such {'hole' if len(proof.new) == 1 else 'holes'}: {said}{rest} {so}",
        holes=[each.sentence for each in proof.new],
    )


def _require_signed(draft: PolicyVersion, actor: Person, proof: Proof) -> None:
    needed = {each.key for each in proof.kept}
    signed = [
        each
        for each in draft.signatures.select_related("person").exclude(person=actor)
        if needed <= {key for key, _ in each.holes} and each.person.has_duty(Duty.POLICY_ADMIN)
    ]
    if len(signed) < SIGNATURES - 1:
        holes = wording.plural(len(proof.kept), "hole")
        raise NotSigned(
            f"The draft keeps {holes} that the version in force has as well. Another policy administrator"
            f" signs that list first, then you activate it. {NOT_ACTIVATED}"
        )


def _put_name(draft: PolicyVersion, person: Person, proof: Proof, now: datetime) -> None:
    PolicySignature.objects.update_or_create(
        version=draft,
        person=person,
        defaults={
            "holes": [[each.key, each.sentence] for each in proof.kept],
            "signed_at": now,
        },
    )


def _swap(
    draft: PolicyVersion, active: PolicyVersion | None, actor: Person, proof: Proof, now: datetime
) -> None:
    names = naming.load()
    before = EMPTY if active is None else book_of(active, names)
    if active is not None:
        active.supersede()
        active.save()
    draft.activate()
    draft.activated_at, draft.activated_by = now, actor
    draft.save()
    act = Act(now=now, actor=actors.person(actor))
    book = book_of(draft, names)
    if active is not None:
        act.record_named(Chain.POLICY, "policy.superseded", number=active.number, by=draft.number)
    editors = draft.editors.order_by("username")
    signers = draft.signatures.select_related("person").order_by("signed_at", "pk")
    act.record_named(
        Chain.POLICY,
        "policy.activated",
        number=draft.number,
        by=actors.person(actor),
        editors=[actors.person(each) for each in editors],
        supersedes=None if active is None else active.number,
        changes=[each.fact() for each in before.changes_to(book)],
        content=book.digest(),
        holes=[[each.key, each.sentence] for each in proof.kept],
        signed_by=[actors.person(each.person) for each in signers],
    )
    act.write()
