"""Trials of exactly-once effects: the same work, interrupted at every point, must end the same."""
