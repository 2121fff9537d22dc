"""How fast Recourse is, as ratios to the least that the same work could cost: `make bench`.

Both sides of a ratio run in turns, in one run, on one machine. See docs/performance.md.
"""
