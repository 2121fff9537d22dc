"""Loads a request with all that hangs from it, for one page or for a list, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import prefetch_related_objects

from approvals.models import (
    ActionRequest,
    Ask,
    Case,
    Claim,
    ConflictParty,
    Decision,
    Notice,
    Order,
    Question,
    RecordRead,
    Step,
    Violation,
)
from approvals.services.escalate import Handed, Ruled, behind_of, deciders_of, limit_of_noes
from approvals.services.gather import in_debt, offices_of, on_call_for
from governance import tables
from governance.routing import History, Offices, Passed, People, barred
from governance.tables import Policy
from governance.vocabulary import ExceptionType, Level, Path, Verdict

S = ActionRequest.State
STOPPED = (
    S.TROUBLED,
    S.ROLLING_BACK,
    S.BLOCKED,
)  # where a failure is answered, or somebody has it in hand


@dataclass(frozen=True, slots=True)
class Packet:
    """One request and its history, oldest first. Read only, and never locked.

    `asks` and `sent` are by the primary keys of their step and their ask; `sent`
    and `orders` are empty where they were not asked for.
    """

    request: ActionRequest
    steps: Sequence[Step]
    asks: dict[int, list[Ask]]
    decisions: Sequence[Decision]
    cases: Sequence[Case]
    sent: dict[int, list[Notice]]
    policy: Policy
    people: People
    orders: Sequence[Order] = ()  # to roll it back
    parties: Sequence[
        ConflictParty
    ] = ()  # to the last conflict whose case it carries, oldest first
    held: Sequence[ConflictParty] = ()  # itself in conflicts that held it, oldest first
    questions: Sequence[Question] = ()  # to the agent, oldest first
    rulings: Sequence[Decision] = ()  # on those of these conflicts that another one carries
    debtors: frozenset[int] = (
        frozenset()
    )  # with an overdue review of a bypass; of critical ones only
    violations: Sequence[Violation] = ()  # oldest first
    reads: Sequence[RecordRead] = ()  # of the target, as it was read last
    on_call: Sequence[
        int
    ] = ()  # for its target now, by primary key; while it has failed, is undone or is blocked
    claim: Claim | None = None  # who has it in hand then

    @property
    def waiting(self) -> Step | None:
        """The step whose clock runs, if one does."""
        return next((step for step in self.steps if step.state == Step.State.WAITING), None)

    @property
    def asked(self) -> list[Ask]:
        """Those asked on the step that waits who have not answered, in their order."""
        step = self.waiting
        return [ask for ask in self.asks.get(step.pk, ()) if ask.due_at] if step else []

    @property
    def handed(self) -> Handed:
        """Who handed it over, and who took it over, on any step."""
        asks = (ask for asks in self.own_asks for ask in asks)
        return Handed.of((ask.pk, ask.person_id, ask.handed_over_from_id) for ask in asks)

    @property
    def own_asks(self) -> list[list[Ask]]:
        """The asks of each of its steps, in their order."""
        return [self.asks.get(step.pk, []) for step in self.steps]

    @property
    def given_away(self) -> set[int | None]:
        """Asks that were handed over, by primary key."""
        return {ask.handed_over_from_id for asks in self.own_asks for ask in asks}

    @property
    def _asks_for_a_ruling(self) -> bool:
        return self.waiting is not None and self.waiting.path == Path.CONFLICT

    @property
    def _is_at_the_top(self) -> bool:
        return self.waiting is not None and self.waiting.level == Level.L4

    @property
    def holder(self) -> ConflictParty | None:
        """Itself in the conflict that holds it, unless it carries that and waits for the ruling."""
        waiting = [each for each in self.held if each.left_at is None]
        carries = waiting and waiting[-1].role == ConflictParty.Role.CARRIER
        return None if not waiting or (carries and not waiting[-1].ruling) else waiting[-1]

    @property
    def noes(self) -> list[Decision]:
        """The objections, oldest first."""
        return [each for each in self.decisions if each.verdict == Verdict.REJECT]

    @property
    def offices(self) -> Offices:
        """Whom its policy names for it beside the matrix, and who is on call."""
        return offices_of(self.request, self.policy, self.on_call)

    @property
    def barred(self) -> dict[int, Passed]:
        """The executives who may not override what came before, and why."""
        now = self.waiting.pk if self._is_at_the_top and self.waiting else None
        earlier = {
            ask.person_id
            for step in self.steps
            if step.pk != now
            for ask in self.asks.get(step.pk, ())
            if ask.asked_at
        }
        own = {each.person_id for each in self.decisions if each.step_id != now}
        behind = behind_of(self.request)
        return barred(
            self.offices,
            people=self.people,
            earlier=earlier | own | behind,
            debtors=self.debtors,
        )

    @property
    def history(self) -> History:
        """What routing must know to say who is asked next."""
        approvers = {
            each.person_id
            for each in self.decisions
            if each.verdict == Verdict.APPROVE and each.digest == self.request.digest
        }
        first = [
            ask.person_id
            for step in self.steps
            if step.path == Path.APPROVAL
            for ask in self.asks.get(step.pk, ())
            if ask.asked_at and ask.pk not in self.given_away
        ]
        waits_for = self.waiting.path if self.waiting is not None else ""
        asked_of_compliance = waits_for == Path.POLICY_VIOLATION
        violations = [
            each for each in self.cases if each.exception == ExceptionType.POLICY_VIOLATION
        ]
        ruled = Ruled.of(self.decisions, violations[-1] if violations else None)
        return History(
            deciders=deciders_of(self.decisions),
            at_least=limit_of_noes(self.decisions, self.people),
            approvals=len(approvers),
            first_asked=tuple(first),
            beside=frozenset(
                person
                for each in (self.parties if self._asks_for_a_ruling else ())
                if each.request_id != self.request.pk
                for person in (each.request.agent.owner_id, each.request.on_behalf_of_id)
                if person is not None
            ),
            barred=self.barred if self._is_at_the_top else {},
            approvers=ruled.approvers if asked_of_compliance else frozenset(),
            signers=ruled.signers if asked_of_compliance else frozenset(),
        )


def packets_of(
    requests: Sequence[ActionRequest], *, now: datetime, with_sent: bool = False
) -> list[Packet]:
    """Return the packets of these requests, in their order.

    Nine queries and one for each policy version not read before, whatever the
    number of requests, one if some are of a critical process, one if a conflict holds some of them,
    and two if some failed, are undone or are blocked; seven or
    eight more `with_sent`: what was sent to those asked, the orders to roll back, the
    questions to the agent, the parties to conflicts and the rulings on them, what rules were
    broken, and what was read of the target.

    Args:
        requests: with `action_type`, `agent` and `department` loaded.
    """
    if not requests:
        return []
    ids = [request.pk for request in requests]
    steps: dict[int, list[Step]] = defaultdict(list)
    for step in Step.objects.filter(request__in=ids).order_by("opened_at", "pk"):
        steps[step.request_id].append(step)
    asks: dict[int, list[Ask]] = defaultdict(list)
    for ask in (
        Ask.objects.filter(step__request__in=ids)
        .select_related("person")
        .order_by("position", "pk")
    ):
        asks[ask.step_id].append(ask)
    decisions: dict[int, list[Decision]] = defaultdict(list)
    for each in (
        Decision.objects.filter(request__in=ids)
        .select_related("person", "step")
        .order_by("at", "pk")
    ):
        decisions[each.request_id].append(each)
    cases: dict[int, list[Case]] = defaultdict(list)
    for case in Case.objects.filter(request__in=ids).order_by("opened_at", "pk"):
        cases[case.request_id].append(case)
    sent: dict[int, list[Notice]] = defaultdict(list)
    if with_sent:
        told = Notice.objects.filter(ask__step__request__in=ids)
        for notice in told.order_by("created_at", "pk"):
            if notice.ask_id is not None:
                sent[notice.ask_id].append(notice)
    orders: dict[int, list[Order]] = defaultdict(list)
    if with_sent:
        ordered = Order.objects.filter(request__in=ids, kind=Order.Kind.ROLL_BACK)
        for order in ordered.select_related("ordered_by", "confirmed_by").order_by("pk"):
            orders[order.request_id].append(order)
    questions: dict[int, list[Question]] = defaultdict(list)
    if with_sent:
        put = Question.objects.filter(request__in=ids).select_related("person", "step")
        for question in put.order_by("pk"):
            questions[question.request_id].append(question)
    carried: dict[int, list[ConflictParty]] = defaultdict(list)
    held: dict[int, list[ConflictParty]] = defaultdict(list)
    rulings: list[Decision] = []
    if with_sent:
        carried, held = _conflicts(ids, cases)
        theirs = {party.case_id for parties in held.values() for party in parties}
        if theirs:
            given = Decision.objects.filter(step__case__in=theirs, verdict=Verdict.RULE)
            rulings = list(given.select_related("person", "step").order_by("at", "pk"))
    violations: dict[int, list[Violation]] = defaultdict(list)
    reads: dict[int, list[RecordRead]] = defaultdict(list)
    if with_sent:
        broken = Violation.objects.filter(request__in=ids).select_related("by_agent", "by_person")
        for violation in broken.order_by("at", "pk"):
            violations[violation.request_id].append(violation)
        for read in RecordRead.objects.filter(request__in=ids).order_by("record"):
            reads[read.request_id].append(read)
    now_held = [each for each in requests if each.state == ActionRequest.State.HELD]
    prefetch_related_objects(now_held, "resource")
    policies = {request.policy_id: tables.policy(request.policy_id) for request in requests}
    stopped = [each for each in requests if each.state in STOPPED]
    on_call = on_call_for(stopped, policies, now=now) if stopped else {}
    claims = {
        claim.request_id: claim
        for claim in (
            Claim.objects.filter(request__in=stopped, closed_at=None).select_related("person")
            if stopped
            else ()
        )
    }
    people = tables.people_for(
        {policies[each.policy_id].rows[each.matrix_row_id] for each in requests},
        also={
            *(ask.person_id for each in asks.values() for ask in each),
            *(each.person_id for several in decisions.values() for each in several),
            *(person for several in on_call.values() for person in several),
            *(
                pk
                for request in requests
                for offices in [offices_of(request, policies[request.policy_id])]
                for pk in (
                    *offices.head,
                    *offices.owner,
                    *offices.executives,
                    *offices.reviewers,
                    *offices.compliance,
                    *offices.head_of_compliance,
                )
            ),
        },
        now=now,
    )
    critical = any(each.action_type.is_critical for each in requests)
    debtors = in_debt(now) if critical else frozenset()
    return [
        Packet(
            request=request,
            debtors=debtors,
            steps=steps[request.pk],
            asks=asks,
            decisions=decisions[request.pk],
            cases=cases[request.pk],
            sent=sent,
            policy=policies[request.policy_id],
            people=people,
            orders=orders[request.pk],
            parties=carried[request.pk],
            held=held[request.pk],
            questions=questions[request.pk],
            violations=violations[request.pk],
            reads=reads[request.pk],
            on_call=on_call.get(request.pk, ()),
            claim=claims.get(request.pk),
            rulings=[
                each
                for each in rulings
                if each.step.case_id in {party.case_id for party in held[request.pk]}
            ],
        )
        for request in requests
    ]


def _conflicts(
    ids: Sequence[int], cases: dict[int, list[Case]]
) -> tuple[dict[int, list[ConflictParty]], dict[int, list[ConflictParty]]]:
    """Return the parties to the last conflict that each of these carries, and each as a party that was held."""
    conflicts = {
        case.pk: case.request_id
        for each in cases.values()
        for case in each
        if case.exception == ExceptionType.CONFLICT
    }
    last = {request: case for case, request in conflicts.items()}  # the last one opened
    carried: dict[int, list[ConflictParty]] = defaultdict(list)
    parties = ConflictParty.objects.filter(case__in=last.values()).select_related(
        "request__agent", "request__action_type", "request__department"
    )
    for party in parties.order_by("request_id"):
        carried[conflicts[party.case_id]].append(party)
    held: dict[int, list[ConflictParty]] = defaultdict(list)
    itself = ConflictParty.objects.filter(request__in=ids, was_held=True)
    for party in itself.select_related("case__request").order_by("joined_at", "pk"):
        held[party.request_id].append(party)
    return carried, held


def packet_of(request: ActionRequest, *, now: datetime, with_sent: bool = True) -> Packet:
    """Return one request's packet, with what was sent to those asked."""
    (packet,) = packets_of([request], now=now, with_sent=with_sent)
    return packet
