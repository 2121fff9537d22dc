"""NetSuite's vendor bills, payments and credits, by SuiteTalk REST.

It has met a stateful double of ours (`tests/netsuite/`) that holds to the contract
as documented, and no server of the vendor. What no documentation said is marked
"not verified" where it stands.
"""

from __future__ import annotations

from rollback.connectors.netsuite.connector import NetSuiteConnector

__all__ = ["NetSuiteConnector"]
