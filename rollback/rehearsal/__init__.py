"""A rehearsal: an action asked for, done, failed and undone by the very code that would, on its target's sandbox.

It runs in a process and a database of its own (docs/decisions/0063): no request
that anybody sees, and no credential of a target in production.
"""
