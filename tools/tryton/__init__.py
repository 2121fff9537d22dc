"""A real ERP on loopback: Tryton, with books to begin with, fresh for each use.

    with Tryton() as erp:
        ...  # erp.url, erp.user, erp.password, erp.facts

It is under the GPL, so it has an environment and processes of its own and
nothing of ours imports it. The first use installs it and fills a template
database, which takes about two minutes; from then on a fresh one is there in
four seconds. All of it lies in `.tryton/`.
"""

from __future__ import annotations

from tools.tryton.books import Books
from tools.tryton.environment import NotAvailable, NotInstalled
from tools.tryton.rpc import Refused, Rpc
from tools.tryton.server import Tryton
from tools.tryton.template import prepare

__all__ = ["Books", "NotAvailable", "NotInstalled", "Refused", "Rpc", "Tryton", "prepare"]
