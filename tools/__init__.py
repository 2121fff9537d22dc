"""Programs of the house: they run, test and lock Recourse, and are no part of it."""
