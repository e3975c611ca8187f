"""Diversity and privacy: copies, nearest neighbours, and what of the real hosts reappears."""

from __future__ import annotations

from typing import Any

from netsynth.report.copies import copy_figures
from netsynth.report.fidelity import Figure
from netsynth.report.neighbours import neighbour_figures
from netsynth.report.pair import Pair
from netsynth.report.reappear import reappearing


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Measure what of the real capture could be learned from the synthetic one."""
    again, examples = reappearing(pair)
    return [*copy_figures(pair), *neighbour_figures(pair), *again], examples
