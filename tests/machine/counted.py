"""What the metrics must come to, by the rows of the tables alone: nothing here reads the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction
from statistics import mean, median

from approvals.models import ENDED, ActionRequest, Ask, Case, Decision, Finding, Review, Step
from governance.metrics import figures
from governance.metrics.weeks import week_of
from governance.models import WeeklyRollup
from rollback.models import Recovery

WITHIN_S = {1: 7200, 2: 7200, 3: 28800}


def by_the_tables() -> tuple[Counter, dict]:
    """Return what is counted of requests, cases, steps and recoveries, and how long each case took.

    {(week, metric, level, slice, value, outcome): count}, and {(week, metric, level, slice, value):
    [seconds, ...]} of what counts as a hit or a miss.
    """
    counted: Counter = Counter()
    times: dict = defaultdict(list)

    def count(metric, outcome, at, request=None, path="", level=0, seconds=None):
        department = request.department.key if request else ""
        action = request.action_type.key if request else ""
        slices = (("all", ""), ("department", department), ("action", action), ("path", path))
        for by, value in slices:
            counted[week_of(at), metric, level, by, value, outcome] += 1
            if seconds is not None and outcome in ("hit", "miss"):
                times[week_of(at), metric, level, by, value].append(seconds)

    for request in ActionRequest.objects.select_related("department", "action_type"):
        asks = Ask.objects.filter(step__request=request, asked_at__isnull=False)
        first = set(asks.filter(step__path="approval").values_list("person", flat=True))
        of_cases = asks.filter(step__case__isnull=False).exclude(step__path="approval")
        others = of_cases.exclude(person__in=first).order_by("pk")
        if request.state in ENDED:
            paths = list(others.values_list("step__path", flat=True))
            outcome, path = ("hit", paths[0]) if paths else ("miss", "approval")
            count("escalation", outcome, request.ended_at, request, path)
        if request.approved_at:
            approval = Decision.objects.filter(request=request, verdict="approve").latest("pk")
            outcome = "hit" if approval.is_bypass else "miss"
            count("bypass", outcome, request.approved_at, request, approval.step.path)
        for case in Case.objects.filter(request=request, state="resolved"):
            seconds = (case.resolved_at - case.opened_at).total_seconds()
            within = WITHIN_S.get(case.highest_level)
            outcome = "miss" if within and seconds >= within else "hit"
            outcome = "absent" if case.absent else outcome
            outcome = "withdrawn" if _was_withdrawn(case, request) else outcome
            count(
                "resolution", outcome, case.resolved_at, request, case.exception,
                case.highest_level, int(seconds),
            )  # fmt: skip
        for step in Step.objects.filter(request=request, level=1, closed_at__isnull=False):
            metric = {"timeout": "again", "system_failure": "unattended"}.get(step.path)
            if metric:
                outcome = "hit" if step.state == "answered" else "miss"
                count(metric, outcome, step.closed_at, request, step.path)
        for recovery in Recovery.objects.filter(request=request, ended_at__isnull=False):
            good = recovery.state == "succeeded" and not recovery.needed_a_person
            outcome = "lapsed" if recovery.state == "lapsed" else "hit" if good else "miss"
            path = "system_failure" if recovery.pattern == "retry" else "undo"
            count("rollback", outcome, recovery.ended_at, request, path)
        for stranded in Review.objects.filter(request=request, kind="cleanup"):
            at = stranded.opened_at
            failed = Recovery.objects.filter(request=request, ordered_at__lte=at)
            if not failed.filter(ended_at__isnull=True).exists() and not (
                failed.filter(ended_at__gte=at).exists()
            ):
                count("rollback", "miss", at, request, "undo")
    for finding in Finding.objects.select_related("request__department", "request__action_type"):
        count("silent", "hit", finding.found_at, finding.request)
    return counted, times


def _was_withdrawn(case, request):
    """Whether a case ended because its request was taken back, as that of a conflict does by being left."""
    return case.outcome == "withdrawn" or (
        request.state == "withdrawn" and case.resolved_at == request.ended_at
    )


def by_the_rollups() -> Counter:
    """Return how many there are, by the stored rollups."""
    counted: Counter = Counter()
    names = {"hits": "hit", "misses": "miss"} | dict.fromkeys(("absent", "withdrawn", "lapsed"))
    for row in WeeklyRollup.objects.all():
        for field, name in names.items():
            if getattr(row, field):
                key = row.week, row.metric, row.level, row.by, row.value, name or field
                counted[key] = getattr(row, field)
    return counted


def times_differ(times: dict) -> list[str]:
    """Say where means, medians and sums of times are not those of the tables."""
    stored = {
        (row.week, row.metric, row.level, row.by, row.value): row
        for row in WeeklyRollup.objects.filter(metric="resolution")
        if row.hits + row.misses
    }
    wrong = [f"{key}: {len(times[key])} times" for key in times.keys() ^ stored.keys()]
    for key in times.keys() & stored.keys():
        ours, sums = times[key], figures.Sums()
        sums.add(stored[key])
        if (stored[key].seconds, sums.counted) != (sum(ours), len(ours)):
            wrong.append(f"{key}: {stored[key].seconds} s of {sums.counted}, want {ours}")
        if figures.mean_s(sums) != mean(map(Fraction, ours)) // 1:
            wrong.append(f"{key}: a mean of {figures.mean_s(sums)}, want that of {ours}")
        # A median is kept by whole minutes, so that it may be up to a minute too low.
        middle = figures.median_s(sums.minutes)
        if middle is None or not 0 <= median(ours) - middle < 60:
            wrong.append(f"{key}: a median of {middle}, want that of {ours}")
    return wrong
