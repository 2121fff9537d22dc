"""The proof that nothing can stall: 200 rows of the matrix, 500 people, ninety days of absences and shifts."""

from __future__ import annotations

import time
import tracemalloc
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bench.databases import World
from bench.rounds import measure, middle, rounded, say
from governance import clock
from governance.catalogue import TARGET
from governance.models import (
    Absence,
    AgentCredential,
    Appointment,
    Department,
    MatrixDelegate,
    MatrixRow,
    Person,
    PolicyVersion,
    RosterShift,
)
from governance.policy_check import check

ROWS_A_DEPARTMENT = 8
REPORTS = 8  # of each manager
AWAY = timedelta(days=4)
SHIFT = timedelta(hours=8)
MEGABYTE = 2**20


def run(world: World, *, rows: int, people: int, rounds: int) -> dict[str, Any]:
    """Check a policy of that size, then the same with twice the absences and shifts."""
    url = world.copy()
    with world.entered(url):
        now = clock.now()
        version = _grow(rows, people, now)
        _absences(people, 2, now)
        times = [_timed(version, now) for _ in range(rounds)]
        once, report = _peak(version, now)
        _absences(people, 4, now)
        twice, more = _peak(version, now)
    world.drop(url)
    say(
        f"policy: {len(report.worst_cases)} classes at {report.instants} instants in {middle(times)} s,"
        f" {once:.1f} MB; at {more.instants} instants {twice:.1f} MB"
    )
    return {
        "policy_check_s": measure(
            middle(times), rounds=rounds, rows=rows, people=people, classes=len(report.worst_cases),
            instants=report.instants, holes=len(report.holes),
        ),
        "policy_memory_twice_vs_once": measure(
            twice / once, rounds=1, once_mb=rounded(once), twice_mb=rounded(twice),
            instants=[report.instants, more.instants],
        ),
    }  # fmt: skip


def _timed(version: PolicyVersion, now: datetime) -> float:
    began = time.monotonic()
    check(version, now=now)
    return time.monotonic() - began


def _peak(version: PolicyVersion, now: datetime) -> tuple[float, Any]:
    """Return the most memory that a check took at once, in megabytes, and what it found."""
    tracemalloc.start()
    report = check(version, now=now)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / MEGABYTE, report


def _grow(rows: int, people: int, now: datetime) -> PolicyVersion:
    """Add people in one tree and rows in as many departments as they fill; every band has its approver's limit."""
    version = PolicyVersion.objects.get(state=PolicyVersion.State.ACTIVE)
    count = max(rows // ROWS_A_DEPARTMENT, 1)
    departments = [Department(key=f"bench-{n}", name=f"Department {n}") for n in range(count)]
    Department.objects.bulk_create(departments)
    everybody: list[Person] = []
    for n in range(people):
        manager = everybody[(n - 1) // REPORTS] if n else Person.objects.get(username="ceo")
        person = Person(
            username=f"bench{n}",
            name=f"Person {n}",
            manager=manager,
            limit_amount=Decimal(10_000_000 // (1 + n // 10)),
            limit_currency="USD",
            date_joined=now,
        )
        person.save(force_insert=True)
        everybody.append(person)
    width = 10_000
    for number in range(rows):
        band = number % ROWS_A_DEPARTMENT
        row = MatrixRow.objects.create(
            version=version,
            number=1000 + number,
            department=departments[number // ROWS_A_DEPARTMENT % count],
            action="vendor_payment",
            currency="USD",
            amount_from=band * width,
            amount_to=(band + 1) * width,
            approver_person=everybody[(7 * number) % people],
        )
        MatrixDelegate.objects.bulk_create(
            MatrixDelegate(
                row=row, position=place, person=everybody[(7 * number + 11 * place) % people]
            )
            for place in (1, 2)
        )
    Appointment.objects.bulk_create(
        Appointment(
            version=version,
            office=Appointment.Office.DEPARTMENT_HEAD,
            scope=each.key,
            person=everybody[1 + place % REPORTS],
        )
        for place, each in enumerate(departments)
    )
    credential = AgentCredential.objects.get()
    credential.pk, credential.prefix = None, "bench"
    credential.departments = [each.key for each in departments]
    credential.actions = ["vendor_payment"]
    credential.save(force_insert=True)
    return version


def _absences(people: int, each: int, now: datetime) -> None:
    """Have everybody away so many times within ninety days, each at instants of their own, and fill the roster."""
    Absence.objects.all().delete()
    RosterShift.objects.all().delete()
    persons = list(Person.objects.filter(username__startswith="bench").order_by("pk"))
    Absence.objects.bulk_create(
        Absence(person=person, starts_at=at, ends_at=at + AWAY, set_by=person, set_at=now)
        for n, person in enumerate(persons)
        for turn in range(each)
        for at in (now + timedelta(days=85 * turn / each + n % 17, minutes=n),)
    )
    on_call = list(Person.objects.filter(username__in=["oncall", "operator"]))
    length = SHIFT * 2 / each
    RosterShift.objects.bulk_create(
        RosterShift(target=TARGET, person=on_call[n % 2], starts_at=at, ends_at=at + length)
        for n in range(int(timedelta(days=90) / length))
        for at in (now + n * length,)
    )
