"""Targets, each behind the one Protocol of `rollback.connectors.base`."""
