"""How well it goes, in six figures a week. Source: DESIGN 6, "Metrics".

`folding` reads a chain of the ledger and says what of it counts; `keeping` stores
that, as single measures and as weekly rollups; `figures` turns rollups into
figures; `cases` lists what stands behind one; `causes` says why a target was missed.
"""
