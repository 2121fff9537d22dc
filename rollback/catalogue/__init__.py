"""The pages under `/actions/`: what agents may ask for, whether it is ready, and who says so."""

from __future__ import annotations
