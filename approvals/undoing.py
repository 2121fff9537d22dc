"""Who may order that a request be undone, and who may be the second to sign. Source: DESIGN 5.

The judgement is pure and says in a sentence why not, so that a page can show
the reason it would refuse with.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from approvals.models import ActionRequest, Claim, Decision, Order
from governance import tables
from governance.models import Appointment, Person, PolicyVersion
from governance.vocabulary import Duty, Verdict

Office = Appointment.Office
OF_A_REVIEW = "A review ordered this, and it is confirmed there by a second reviewer."


@dataclass(frozen=True, slots=True)
class Circle:
    """Everybody whose part in a request decides whether they may undo it, by primary key.

    Attributes:
        orderers: operators, the department's controllers and its head; enabled ones.
        head_of_compliance: who may confirm, and may not order.
        owner, on_behalf_of: who has no part in any human act on this request.
        deciders: who decided on any of its steps.
        bypassers: who approved it in place of others.
        doers: who did part of it by hand.
    """

    department: str  # its name
    orderers: frozenset[int]
    head_of_compliance: int | None
    owner: int
    on_behalf_of: int | None
    deciders: frozenset[int]
    bypassers: frozenset[int]
    doers: frozenset[int]

    @property
    def signers(self) -> frozenset[int]:
        """Everybody whose office lets them confirm, before anything else is asked."""
        head = {self.head_of_compliance} if self.head_of_compliance is not None else set()
        return self.orderers | head


def why_not_order(circle: Circle, person: int) -> str | None:
    """Return why this person may not order a rollback, said to them, or None if they may."""
    outside = _why_outside(circle, person)
    if outside is not None:
        return outside
    if person not in circle.orderers:
        return (
            "A rollback is ordered by an operator, or by the controller or the head of"
            f" {circle.department}."
        )
    return None


def why_not_confirm(circle: Circle, person: int, *, orderer: int | None) -> str | None:
    """Return why this person may not confirm an order, said to them, or None if they may.

    Args:
        orderer: who ordered it.
    """
    outside = _why_outside(circle, person)
    if outside is not None:
        return outside
    if person not in circle.signers:
        return (
            "A rollback is confirmed by an operator, by the controller or the head of"
            f" {circle.department}, or by the head of compliance."
        )
    if person == orderer:
        return "You ordered it, so somebody else must confirm it."
    if person in circle.doers:
        return "You did part of it by hand, so somebody else must confirm it."
    if person in circle.bypassers:
        return "You approved it in place of others, so somebody else must confirm it."
    if person in circle.deciders:
        return (
            "You decided on this request before, so the second signature must be somebody else's."
        )
    return None


def why_not_second(circle: Circle, person: int, below: frozenset[int]) -> str | None:
    """Return why this person may not confirm what was finished by hand, or None if they may.

    Args:
        below: who reports to somebody who approved it.
    """
    outside = _why_outside(circle, person)
    if outside is not None:
        return outside
    if person in circle.doers:
        return "You had it in hand yourself, so somebody else must confirm it."
    if person not in circle.signers:
        return (
            "What was done by hand is confirmed by an operator, by the controller or the head of"
            f" {circle.department}, or by the head of compliance."
        )
    if person in below:
        return "You report to somebody who approved it, so somebody else must confirm it."
    if person in circle.deciders:
        return (
            "You decided on this request before, so the second signature must be somebody else's."
        )
    return None


def may_be_second(circle: Circle, below: frozenset[int]) -> frozenset[int]:
    """Return everybody who may confirm what was finished by hand."""
    return frozenset(each for each in circle.signers if why_not_second(circle, each, below) is None)


def below_approvers(request: ActionRequest, circle: Circle, *, now: datetime) -> frozenset[int]:
    """Return who, of those whose office lets them confirm, reports to somebody who approved it."""
    yes = Decision.objects.filter(request=request, verdict=Verdict.APPROVE)
    approvers = set(yes.values_list("person_id", flat=True))
    people = tables.people_for((), also=circle.signers, now=now)
    found = set()
    for person in circle.signers & people.by_pk.keys():
        seen, above = {person}, people.by_pk[person].manager
        while above is not None and above in people.by_pk and above not in seen:
            if above in approvers:
                found.add(person)
            seen.add(above)
            above = people.by_pk[above].manager
    return frozenset(found)


def may_confirm(circle: Circle, *, orderer: int | None) -> frozenset[int]:
    """Return everybody who may confirm an order of this person's."""
    return frozenset(
        each for each in circle.signers if why_not_confirm(circle, each, orderer=orderer) is None
    )


def circle_of(request: ActionRequest) -> Circle:
    """Return the people around a request as they are now, in a fixed number of queries.

    Args:
        request: with `agent` and `department` loaded.
    """
    offices = Appointment.objects.filter(
        Q(office=Office.DEPARTMENT_HEAD, scope=request.department.key)
        | Q(office=Office.HEAD_OF_COMPLIANCE),
        version__state=PolicyVersion.State.ACTIVE,
        person__is_active=True,
    )
    held = dict(offices.values_list("office", "person_id"))
    head = held.get(Office.DEPARTMENT_HEAD)
    department = request.department_id
    orderers = orderers_in([department], {} if head is None else {department: head})
    decided = list(Decision.objects.filter(request=request).values_list("person_id", "is_bypass"))
    return Circle(
        department=request.department.name,
        orderers=orderers[department],
        head_of_compliance=held.get(Office.HEAD_OF_COMPLIANCE),
        owner=request.agent.owner_id,
        on_behalf_of=request.on_behalf_of_id,
        deciders=frozenset(person for person, _ in decided),
        bypassers=frozenset(person for person, is_bypass in decided if is_bypass),
        doers=frozenset(Claim.objects.filter(request=request).values_list("person_id", flat=True)),
    )


def orderers_in(
    departments: Collection[int], heads: Mapping[int, int]
) -> dict[int, frozenset[int]]:
    """Return by department who may order a rollback there, all by primary key. One query.

    Args:
        heads: by department; enabled ones.
    """
    # A controller of another department is none here, and one of no department is none anywhere.
    of_duty = Q(roles__key=Duty.OPERATOR) | Q(
        roles__key=Duty.CONTROLLER, department__in=departments
    )
    found = {pk: {heads[pk]} if pk in heads else set() for pk in departments}
    held = Person.objects.filter(of_duty, is_active=True)
    for person, home, duty in held.values_list("pk", "department", "roles__key"):
        for pk in departments if duty == Duty.OPERATOR else [home]:
            found[pk].add(person)
    return {pk: frozenset(people) for pk, people in found.items()}


def signed_by_two(
    *,
    orderers: frozenset[int],
    head_of_compliance: int | None,
    owner: int,
    deciders: frozenset[int],
) -> bool:
    """Whether somebody could order a rollback and somebody else confirm it. Pure; primary keys.

    Args:
        owner: of the agent that asked.
        deciders: who decided on the request before.
    """
    nobody: frozenset[int] = frozenset()
    circle = Circle("", orderers, head_of_compliance, owner, None, deciders, nobody, nobody)
    return any(
        may_confirm(circle, orderer=each)
        for each in orderers
        if why_not_order(circle, each) is None
    )


def open_rollback(request: ActionRequest) -> Order | None:
    """Return the order to roll it back that still stands, with who signed it."""
    return (
        Order.objects.filter(request=request, kind=Order.Kind.ROLL_BACK, closed_at__isnull=True)
        .select_related("ordered_by", "confirmed_by")
        .first()
    )


def open_claim(request: ActionRequest) -> Claim | None:
    """Return who has it in hand, if somebody does."""
    return (
        Claim.objects.filter(request=request, closed_at__isnull=True)
        .select_related("person")
        .first()
    )


def waits_for_second(order: Order) -> bool:
    """Whether an open order has no effect before another person has confirmed it."""
    return order.needs_second and order.confirmed_by_id is None


def moot(request: ActionRequest) -> str | None:
    """Return the outcome of an order for which there is nothing left to do, or None if there is.

    What was approved may write at any moment, whatever the row says of its effects: who
    orders that it be undone wants it stopped.
    """
    if request.state == ActionRequest.State.ROLLING_BACK:
        return Order.Outcome.JOINED
    may_write = request.is_open and request.approved_at is not None
    if may_write or request.has_effects or request.state == ActionRequest.State.STRANDED:
        return None
    return Order.Outcome.NOTHING_TO_DO


def _why_outside(circle: Circle, person: int) -> str | None:
    if person == circle.owner:
        return "You own the agent that asked for this, so others decide whether it is undone."
    if person == circle.on_behalf_of:
        return "It was asked for on your behalf, so others decide whether it is undone."
    return None
