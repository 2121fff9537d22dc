"""A small company's ledger, as a process of its own: the system of record that the demo acts on.

It stands for whatever a company keeps its books in, and so it knows nothing of
who calls it: standard library only, its own file, HTTP and a token.
"""
