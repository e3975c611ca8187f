"""Captures by generators of series: flows are samples, their fields metadata, their steps records.

Any generator of `SERIES_GENERATORS` learns the flows of an EncodedTrace as a SeriesDataset; what
it draws becomes tokens and series again, and the record level that the transformer trains, too,
makes the packets and their times.

References:
    Lin et al., "Using GANs for Sharing Networked Time Series Data", IMC 2020, section 3.1: flows
    are samples with metadata and a series each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsynth.generate.flow_series.generator import FlowSeriesGenerator

__all__ = ["FlowSeriesGenerator"]


def __getattr__(name: str) -> Any:
    """Import the generator, and torch with it, on use."""
    if name != "FlowSeriesGenerator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from netsynth.generate.flow_series.generator import FlowSeriesGenerator

    return FlowSeriesGenerator
