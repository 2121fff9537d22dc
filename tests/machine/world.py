"""The demo's organisation, a target, a worker and a clock: all that can happen to requests, as methods."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count, permutations

from approvals.models import ENDED, OPEN, ActionRequest, Ask, Claim, Order, Review, Step
from approvals.services.cleanups import confirm_settled, say_settled
from approvals.services.close import withdraw
from approvals.services.compliance import rule_on_violation
from approvals.services.decide import decide
from approvals.services.handover import hand_over
from approvals.services.mending import mend
from approvals.services.orders import order_rollback
from approvals.services.ruling import rule
from approvals.services.submit import submit
from approvals.services.violations import report
from governance import tables
from governance.catalogue import CATALOGUE
from governance.errors import Refused
from governance.ladder import BEGIN_WITHIN, DEFAULT_WINDOWS, RUN_WITHIN, SECOND_WITHIN, UNDO_WITHIN
from governance.models import Absence, ActionType, Agent, AuditEvent, Person, PolicyVersion
from governance.routing import GIVES_LEAVE, MENDS
from governance.stepup import Presence
from governance.vocabulary import Level, Path
from rollback import runner
from rollback.connectors.base import Gives
from rollback.models import Unit
from rollback.services import by_hand
from rollback.services.hands import Hands
from tests.factories import AbsenceFactory
from tests.machine.target import Killed, Target

S = ActionRequest.State
AWAY_AT_MOST = 3  # at a time
LONGEST_SLA = timedelta(hours=4)
CAP_OF_QUEUE = timedelta(hours=8)
# Whatever happened to it, and whoever stays silent: after this long a request has ended. Every rung of
# every path once, its turn behind others for one record, and the times a run and an undo may take.
WORST_CASE = (
    LONGEST_SLA
    + sum(DEFAULT_WINDOWS.values(), timedelta(0))
    + DEFAULT_WINDOWS[Path.TIMEOUT, 1]  # asked again, extended
    + sum((span for (path, _), span in DEFAULT_WINDOWS.items() if path == Path.CONFLICT), timedelta(0))
    + CAP_OF_QUEUE
    + BEGIN_WITHIN + RUN_WITHIN + UNDO_WITHIN + SECOND_WITHIN
)  # fmt: skip


class World:
    """One organisation from 9 o'clock on a Monday. Methods pick by number, modulo what there is.

    A method returns whether anything was there to be done.
    """

    def __init__(self, timeline, gives: Gives, *, silent: bool) -> None:
        """`silent`: nobody answers anything in this world."""
        self.timeline = timeline
        self.silent = silent
        self.target = Target(gives)
        for action in ActionType.objects.filter(reversal=ActionType.Reversal.RESTORE):
            self.target.plans[action.key] = action.snapshot_plan
        self.agent = Agent.objects.get()
        self.credential = self.agent.credentials.get()
        self.policy = PolicyVersion.objects.get(state="active").pk
        self.people = list(Person.objects.order_by("pk"))
        self.numbers = count(1)
        self.read_up_to = 0  # the last event that the checks have read
        self.there_is: dict[str, bool] = defaultdict(bool)

    @property
    def now(self) -> datetime:
        return self.timeline.now

    def look_round(self) -> None:
        """See what there is to be done something to."""
        states = Counter(ActionRequest.objects.values_list("state", flat=True))
        paths = set() if self.silent else set(self._open_asks().values_list("path", flat=True))
        self.there_is |= {
            "answer": bool(paths & set(GIVES_LEAVE)),
            "comply": Path.POLICY_VIOLATION in paths,
            "mend": bool(paths & set(MENDS)),
            "mend_at_the_top": not self.silent
            and ActionRequest.objects.filter(
                state=S.TROUBLED, action_type__is_critical=True
            ).exists(),
            "finish_by_hand": not self.silent and Claim.objects.filter(closed_at=None).exists(),
            "rule": Path.CONFLICT in paths,
            "withdraw": any(states[state] for state in OPEN),
            "work": any(
                states[state] for state in (S.APPROVED, S.EXECUTING, S.TROUBLED, S.ROLLING_BACK)
            ),
            "wait": any(states[state] for state in OPEN),
            "clean_up": Review.objects.filter(kind="cleanup", state="open").exists(),
            "be_away": Absence.objects.filter(ends_at__gt=self.now).count() < AWAY_AT_MOST,
            "order_rollback": ActionRequest.objects.filter(had_effects=True).exists(),
        }

    def ends(self) -> list[tuple[str, str]]:
        """Return, of each request that has ended, the paths that it stood on with its end."""
        ended = ActionRequest.objects.filter(state__in=ENDED, steps__isnull=False)
        return [
            (path, end) for _, path, end in set(ended.values_list("pk", "steps__path", "state"))
        ]

    # --- Agents ---

    def submit(self, *, action: int, record: int, amount: str, severity: str, impact: str) -> bool:
        """Ask for something on one of few records, so that requests meet."""
        entry = CATALOGUE[action % len(CATALOGUE)]
        number = next(self.numbers)
        payload = {**entry["example"]["payload"]}
        document = {
            "vendor_payment": {"invoice": f"INV-{record}", "instalment": str(number)},
            "purchase_order": {"order": f"PO-{record}"},
            "sales_order": {"order": f"SO-{record}"},
            "customer_update": {"customer": f"C-{record}", "change_ref": f"CHG-{number}"},
            "revenue_recognition": {"contract": f"K-{record}", "period": f"{2000 + number}-Q1"},
        }
        payload |= document[entry["key"]]
        if "amount" in payload:
            payload["amount"] = {"value": amount, "currency": "USD"}
        return self._try(
            submit,
            credential=self.credential,
            policy=self.policy,
            idempotency_key=f"key-{number}",
            body={**entry["example"], "payload": payload, "severity": severity, "impact": impact},
            now=self.now,
        )

    def withdraw(self, pick: int) -> bool:
        request = self._one_of(ActionRequest.objects.filter(state__in=OPEN), pick)
        return request is not None and self._try(
            withdraw, ref=request.ref, agent=self.agent, now=self.now
        )

    # --- People ---

    def answer(self, pick: int, *, verdict: str, severity: str) -> bool:
        """Somebody who is asked whether it may be done says yes or no."""
        ask = self._one_of(self._open_asks().filter(path__in=GIVES_LEAVE), pick)
        return ask is not None and self._decide(ask.step.request, ask.person, verdict, severity)

    def approve(self, pick: int) -> bool:
        """Everybody who is asked about one request says yes."""
        ask = self._one_of(self._open_asks().filter(path__in=GIVES_LEAVE), pick)
        if ask is None:
            return False
        asked = self._open_asks().filter(step=ask.step).order_by("pk")
        said = [self._decide(each.step.request, each.person, "approve", "low") for each in asked]
        return any(said)

    def meddle(self, pick: int, person: int) -> bool:
        """Somebody answers who is not asked: nothing of it may be kept."""
        request = self._one_of(ActionRequest.objects.filter(state__in=OPEN), pick)
        if request is None:
            return False
        asked = set(
            self._open_asks().filter(step__request=request).values_list("person", flat=True)
        )
        stranger = self.people[person % len(self.people)]
        if stranger.pk in asked:
            return False
        assert not self._decide(request, stranger, "approve", "low"), f"{stranger} was not asked"
        return True

    def hand_over(self, pick: int, to: int) -> bool:
        ask = self._one_of(self._open_asks(), pick)
        return ask is not None and self._try(
            hand_over,
            ref=ask.step.request.ref,
            actor=ask.person,
            to=self.people[to % len(self.people)].username,
            now=self.now,
        )

    def rule(self, pick: int, *, refuse: int, backwards: bool) -> bool:
        """Whoever is asked puts the requests for a record in order, and refuses every so many-th."""
        ask = self._one_of(self._open_asks().filter(path=Path.CONFLICT), pick)
        if ask is None:
            return False
        carrier = ask.step.request
        held = ActionRequest.objects.filter(
            state=S.HELD, conflicts__case=ask.step.case, conflicts__left_at=None
        ).order_by("pk", "pk")
        # By age, and not by reference: those are drawn anew in each world, and a walk is to be one.
        known = {carrier.pk: carrier.ref, **dict(held.values_list("pk", "ref"))}
        refs = [known[pk] for pk in sorted(known, reverse=backwards)]
        refused = [ref for n, ref in enumerate(refs, start=1) if refuse and n % refuse == 0]
        return self._try(
            rule,
            ref=carrier.ref,
            actor=ask.person,
            order=[ref for ref in refs if ref not in refused],
            refuse=refused,
            digest=carrier.digest,
            note="In this order.",
            presence=self._present(ask.person, carrier),
            now=self.now,
        )

    def be_away(self, person: int, hours: int) -> bool:
        AbsenceFactory(
            person=self.people[person % len(self.people)],
            starts_at=self.now,
            ends_at=self.now + timedelta(hours=hours),
        )
        return True

    def order_rollback(self, pick: int, person: int) -> bool:
        """An order, or the second person's word to one that stands."""
        done = ActionRequest.objects.filter(had_effects=True)
        request = self._one_of(done, pick)
        by = [
            each
            for each in self.people
            if each.username in ("operator", "controller", "cfo", "head_of_compliance")
        ]
        return request is not None and self._try(
            order_rollback,
            ref=request.ref,
            actor=by[person % len(by)],
            reason="It was wrong.",
            now=self.now,
        )  # fmt: skip

    def report(self, pick: int) -> bool:
        """An agent says that something breaks a rule, of what has left its mark or of anything else."""
        marked = ActionRequest.objects.filter(has_effects=True)
        request = (self._one_of(marked, pick) if pick % 2 else None) or self._one_of(
            ActionRequest.objects.all(), pick
        )
        text = "It is paid from the wrong account."
        return request is not None and self._try(
            report, ref=request.ref, by=self.agent, any_request=True, text=text, now=self.now
        )

    def comply(self, pick: int, verdict: str) -> bool:
        """Compliance answers."""
        ask = self._one_of(self._open_asks().filter(path=Path.POLICY_VIOLATION), pick)
        return ask is not None and self._answer_with(rule_on_violation, ask, verdict)

    def mend(self, pick: int, verdict: str) -> bool:
        """Whoever is on call says how a failure goes on."""
        ask = self._one_of(self._open_asks().filter(path__in=MENDS), pick)
        return ask is not None and self._mend(ask, verdict)

    def mend_at_the_top(self, pick: int, verdict: str) -> bool:
        """Nobody below answers a failure of a critical process: time passes, and an executive does.

        Chance alone would hardly ever wait that long in one walk.
        """
        critical = ActionType.objects.filter(is_critical=True)
        failed = ActionRequest.objects.filter(state=S.TROUBLED, action_type__in=critical)
        request = self._one_of(failed, pick)
        if request is None:
            return False
        waiting = Step.objects.filter(request=request, path=Path.SYSTEM_FAILURE, state="waiting")
        while (step := waiting.first()) is not None and step.level < Level.L4:
            self.timeline.go_to(step.due_at)
        ask = self._open_asks().filter(step=step).first() if step is not None else None
        return ask is not None and self._mend(ask, verdict)

    def _mend(self, ask: Ask, verdict: str) -> bool:
        presence = self._present(ask.person, ask.step.request)
        return self._answer_with(mend, ask, verdict, presence=presence)

    def finish_by_hand(self, pick: int, outcome: str) -> bool:
        """Whoever has it in hand looks at the target, or does or takes back there what is left, and says so.

        Somebody else signs where that is needed. What is half done as it is, they give back.
        """
        claim = self._one_of(Claim.objects.filter(closed_at=None), pick)
        if claim is None:
            return False
        words = {"ref": claim.request.ref, "now": self.now, "of": lambda action_type: self.target}
        said = self._see_or_do(claim.request, outcome, words)
        if len({each["state"] for each in said}) > 1:
            return self._try(by_hand.give_back, actor=claim.person, **words)
        shown = by_hand.stamp_of(claim, by_hand.items_of(claim.request, claim, of=words["of"]))
        if not self._try(
            by_hand.settle, actor=claim.person, said=said, reference="T-1", shown=shown, **words
        ):
            return False
        claim = Claim.objects.get(pk=claim.pk)
        if claim.closed_at is None:
            shown = by_hand.stamp_of(claim, by_hand.items_of(claim.request, claim, of=words["of"]))
            any(
                self._try(by_hand.confirm, actor=each, shown=shown, **words) for each in self.people
            )
        return True

    def _see_or_do(self, request: ActionRequest, outcome: str, words) -> list[dict[str, object]]:
        """Return what becomes of each unit in the target once somebody has been there."""
        claim = request.claims.get(closed_at=None)
        said = []
        for item in by_hand.items_of(request, claim, of=words["of"]):
            unit = request.units.filter(direction="forward", position=item.n).first()
            state = outcome if outcome != "as it is" else self._truth(unit)
            if unit is not None and state == "not_done":
                self.target.taken_back.add(unit.key)
            said.append({"n": item.n, "state": state, "reference": f"T-{item.n}"})
        return said

    def _truth(self, unit: Unit | None) -> str:
        """What is to be seen in the target of one unit."""
        if unit is None or unit.key not in self.target.done or unit.key in self.target.taken_back:
            return "not_done"
        back = Unit.objects.filter(reverses=unit).values_list("key", flat=True)
        return "not_done" if any(key in self.target.done for key in back) else "done"

    def _answer_with(self, service, ask: Ask, verdict: str, **more) -> bool:
        request = ask.step.request
        return self._try(
            service,
            ref=request.ref,
            actor=ask.person,
            verdict=verdict,
            digest=request.digest,
            note="Looked at.",
            now=self.now,
            **more,
        )

    def clean_up(self, pick: int, outcome: str) -> bool:
        """Two people say what became of a stranded request."""
        review = self._one_of(Review.objects.filter(kind="cleanup", state="open"), pick)
        if review is None:
            return False
        for first, second in permutations(self.people, 2):
            words = {"outcome": outcome, "reference": "BY-HAND-1", "note": "Done by hand."}
            if not self._try(say_settled, review=review.pk, actor=first, now=self.now, **words):
                continue
            said = {"review": review.pk, "now": self.now, "said_at": self.now}
            if self._try(confirm_settled, actor=second, **said):
                # They did, or took back, there what was in doubt or missing.
                self.target.taken_back.update(review.request.units.values_list("key", flat=True))
                return True
        return False

    # --- The worker, and time ---

    def work(self, units: int | None = None) -> bool:
        """The worker takes up what is due, and stops after so many units."""
        left = [units]

        def enough() -> bool:
            if left[0] is None:
                return False
            left[0] -= 1
            return left[0] < 0

        hands = Hands(
            worker="one",
            now=lambda: self.now,
            technical=lambda seconds: timedelta(seconds=seconds),
            connector_for=lambda action_type: self.target,
            chance=lambda: 0.5,
            enough=enough,
            at=lambda point, unit: None,
        )
        try:
            return runner.run_all(hands) > 0
        except Killed:
            return True

    def wait(self, **delta: int) -> None:
        """Time passes, and the clock does what is due. The worker does not."""
        self.timeline.advance(**delta)

    def run_out(self) -> None:
        """Everybody falls silent: clock and worker go on until nothing is open, within the worst case."""
        last = self.now + WORST_CASE
        while self.open:
            self.work()
            due = [at for at in self._instants() if at > self.now]
            if not due or min(due) > last:
                break
            self.timeline.go_to(min(due))
        assert not self.open, (
            f"open after {WORST_CASE}, at {self.now}: {[self._tell(each) for each in self.open]}"
        )

    def _tell(self, request: ActionRequest) -> dict[str, object]:
        """Return what somebody needs who looks for why a request does not go on."""
        rows = ActionRequest.objects.filter(pk=request.pk)
        return {
            **rows.values("ref", "state", "submitted_at", "due_at", "lease_until").get(),
            **rows.values("next_attempt_at", "run_deadline", "parked_until", "has_effects").get(),
            "steps": list(request.steps.values_list("path", "level", "state", "due_at")),
            "claims": list(request.claims.values("claimed_at", "finished_at", "closed_at")),
            "orders": list(request.orders.values("kind", "due_at", "outcome", "closed_at")),
            "lately": list(
                AuditEvent.objects.filter(chain=request.ref)
                .order_by("-seq")
                .values_list("at", "kind")[:12]
            ),
        }

    @property
    def open(self) -> Sequence[ActionRequest]:
        return list(ActionRequest.objects.filter(state__in=OPEN).order_by("pk"))

    def _instants(self) -> list[datetime]:
        found = []
        for request in self.open:
            found += [
                request.due_at,
                request.lease_until,
                request.next_attempt_at,
                request.run_deadline,
            ]
        found += Step.objects.filter(state="waiting").values_list("due_at", flat=True)
        found += Order.objects.filter(closed_at=None).values_list("due_at", flat=True)
        return [at for at in found if at is not None]

    # --- Small things ---

    def _open_asks(self):
        return Ask.objects.filter(due_at__gt=self.now).select_related(
            "step__request", "step__case", "person"
        )

    def _decide(self, request: ActionRequest, person: Person, verdict: str, severity: str) -> bool:
        return self._try(
            decide,
            ref=request.ref,
            actor=person,
            verdict=verdict,
            digest=request.digest,
            severity=severity if verdict == "reject" else "",
            note="Seen.",
            presence=self._present(person, request),
            now=self.now,
        )

    def _present(self, person: Person, request: ActionRequest) -> Presence:
        """Everybody gives a second factor, every time: who may is another question."""
        return Presence(person.pk, request.ref, self.now)

    def _try(self, service, **words) -> bool:
        """Call a service as a page would: what it refuses is told, and leaves nothing behind."""
        try:
            service(**words)
        except Refused:
            return False
        return True

    @staticmethod
    def _one_of(rows, pick: int):
        rows = rows.order_by("pk")
        there = rows.count()
        return rows[pick % there] if there else None


def forget() -> None:
    """Drop what is kept by primary key: a world that was rolled back gives its keys away again."""
    tables.policy.cache_clear()
