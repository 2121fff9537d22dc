"""Any JSON API, by configuration in the action type. No code names a target."""

from __future__ import annotations

from rollback.connectors.http.connector import HttpConnector

__all__ = ["HttpConnector"]
