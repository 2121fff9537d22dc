"""The locks of this package, in this order: the sum of a submission, the Resource of the key, request rows.

A submission to a counterparty takes the row of its sum before anything else, in
the trip that makes its Resource; nothing else ever takes one. A transaction that
touches two requests, or that may give or free a key, takes the Resource before
them. Steps, asks and cases are never locked for themselves: the request row
stands for all that hangs from it. Heads of named chains come last, in
`governance.ledger`.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import CharField, Q

from approvals.models import ActionRequest, CounterpartySum, Resource
from governance import bulk
from governance.claims import claim, demand_transaction
from governance.errors import NotFound
from governance.models import Person
from governance.reads import Given, GivenKeys, Read, ReadObjects, together

# The row of the sums to one counterparty, made where it is missing, and waited for and locked:
# two queries, by owner, counterparty and currency. What is read after them is read as it is then.
SUM_OF = {
    "owner": Given("owner", Person._meta.pk),
    "counterparty": Given("counterparty", CharField()),
    "currency": Given("currency", CharField()),
}
LOCKING_A_SUM = (
    bulk.inserting_missing(CounterpartySum, *SUM_OF),
    Read(
        lambda: (
            CounterpartySum.objects.select_for_update(no_key=True)
            .filter(**SUM_OF)
            .values_list("pk")
        ),
        prepared=True,
    ),
)


def lock_resources(pks: Iterable[int | None]) -> None:
    """Wait for and lock these Resource rows, in the order of their keys. None stands for no resource."""
    wanted = sorted({pk for pk in pks if pk is not None})
    if wanted:
        list(Resource.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk"))


def lock_if_free(request: int) -> bool:
    """Lock the Resource that a request wants and then the request, unless somebody holds either.

    For whoever has other work to do: one row that is held must not hold up the rest. Returns
    whether it has both.
    """
    wanted = ActionRequest.objects.filter(pk=request).values("resource")
    got = claim(Resource.objects.filter(pk__in=wanted).order_by("pk"), limit=1)
    free = Q(resource=None) | Q(resource__in=got)
    return bool(claim(ActionRequest.objects.filter(free, pk=request).order_by("pk"), limit=1))


def lock_where_free(requests: Iterable[int]) -> list[int]:
    """Lock the Resources that these requests want, but for those that somebody holds.

    Returns the requests that may go on. The others are not to be claimed: that would keep
    them from whoever holds their Resource, and who passes them by in turn.
    """
    wanted, got = together(_wanted_by, _lock_free_resources_of, requests=requests)
    free = {None, *(pk for (pk,) in got)}
    return [pk for pk, resource in wanted if resource in free]


_wanted_by = Read(  # which never changes
    lambda: ActionRequest.objects.filter(pk__among=GivenKeys("requests")).values_list(
        "pk", "resource"
    )
)
_lock_free_resources_of = Read(
    lambda: (
        Resource.objects.select_for_update(no_key=True, skip_locked=True)
        .filter(
            pk__in=ActionRequest.objects.filter(pk__among=GivenKeys("requests")).values("resource")
        )
        .order_by("pk")
        .values_list("pk")
    )
)


def lock_request(ref: str, *, and_resource: bool = False) -> ActionRequest:
    """Wait for, lock and return one request; read its steps only after this.

    Args:
        and_resource: lock its Resource first, as whatever may give or free the key must.

    Raises:
        NotFound: there is no such request.
        RuntimeError: no transaction is open.
    """
    if and_resource:
        # Which Resource it wants never changes, so it can be read before the lock.
        lock_resources(ActionRequest.objects.filter(ref=ref).values_list("resource_id", flat=True))
    demand_transaction()
    for found in _lock_request(ref=ref):
        return found
    raise NotFound(f"There is no request {ref}.")


_lock_request: ReadObjects[ActionRequest] = ReadObjects(
    lambda: (
        ActionRequest.objects.select_for_update(no_key=True, of=("self",))
        .select_related("action_type", "agent", "department", "matrix_row")
        .filter(ref=Given("ref", CharField()))
    ),
    prepared=True,
)
