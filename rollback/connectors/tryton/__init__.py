"""Tryton, spoken to over its JSON-RPC as its own client speaks to it. No code of Tryton's is used."""

from __future__ import annotations

from rollback.connectors.tryton.connector import TrytonConnector

__all__ = ["TrytonConnector"]
