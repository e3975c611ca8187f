"""Captures from disk to packets and flows, with progress, and with a word on those that fail."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netsynth.errors import CaptureError
from netsynth.progress import Progress
from netsynth.settings import Sections
from netsynth.tables import FlowTable, PacketTable

if TYPE_CHECKING:
    from netsynth.capture import CaptureInfo
    from netsynth.demux import FlowCensus
    from netsynth.report import CaptureFacts

Paths = Path | str | Sequence[Path | str]


def read_packets(
    paths: Paths, *, salvage: bool, progress: Progress, decapsulate: bool = False
) -> tuple[PacketTable, CaptureInfo]:
    """Read one capture, which must hold IP packets.

    Raises:
        CaptureError: If it cannot be read, is empty, or holds no IP packet; says which.
    """
    from netsynth.capture import read_capture

    names, name = _start(paths, progress)
    packets, info = read_capture(
        names,
        salvage=salvage,
        decapsulate=decapsulate,
        progress=lambda done, total: progress.update(done),
    )
    _require_packets(name, info)
    progress.finish(f"{info.packet_count:,} packets")
    return packets, info


def read_census(
    paths: Paths, *, salvage: bool, progress: Progress, decapsulate: bool = False
) -> tuple[FlowCensus, CaptureInfo]:
    """Count the flows of one capture, in memory that grows with their number alone.

    Where packets are too late to be sorted on the way (files that overlap in time), the capture
    is read again, whole.

    Raises:
        CaptureError: As `read_packets`; or if standard input would have to be read again.
    """
    from netsynth.capture import LatePacketsError, iter_capture
    from netsynth.demux import assemble_flows, census_of, count_flows

    names, name = _start(paths, progress)
    chunks = iter_capture(
        names,
        salvage=salvage,
        decapsulate=decapsulate,
        skip_late=False,
        progress=lambda done, total: progress.update(done),
    )
    try:
        census = count_flows(chunks)
    except LatePacketsError:
        if "-" in map(str, names):
            raise
        packets, info = read_packets(
            names, salvage=salvage, decapsulate=decapsulate, progress=progress
        )
        return census_of(assemble_flows(packets)), info
    info = chunks.info()
    _require_packets(name, info)
    progress.finish(f"{info.packet_count:,} packets")
    return census, info


def _start(paths: Paths, progress: Progress) -> tuple[list[Path | str], str]:
    """Begin the phase of reading; return the paths as a list, and how to call them."""
    names = [paths] if isinstance(paths, (str, Path)) else list(paths)
    name = ", ".join(str(path) for path in names)
    size = sum(os.path.getsize(path) for path in names if os.path.isfile(path))
    progress.start(f"reading {name}", total=size or None, unit="bytes")
    return names, name


def _require_packets(name: str, info: CaptureInfo) -> None:
    if info.frame_count == 0:
        raise CaptureError(f"{name}: an empty capture, without a single packet")
    if info.packet_count == 0:
        kinds = ", ".join(list(info.non_ip_types)[:5])
        raise CaptureError(
            f"{name}: none of its {info.frame_count:,} frames holds IP ({kinds}); "
            "netsynth learns IP traffic only"
        )


def read_flows(
    path: Path | str,
    sections: Sections,
    labels: Path | str | None,
    *,
    salvage: bool,
    progress: Progress,
    decapsulate: bool = False,
) -> tuple[FlowTable, dict[str, Any]]:
    """Read one capture and assemble its flows.

    Args:
        path: A file, folder, pattern or rotation set.
        sections: Settings; `demux` is read.
        labels: CSV file of windows of labelled traffic, or None.
        salvage: Read on past damaged records.
        progress: Told what is done.
        decapsulate: Read what is inside tunnels.

    Returns:
        The flows, and what a model notes of the capture, in plain values.

    Raises:
        CaptureError: As `read_packets`, or if no flow is in any window of `labels`.
    """
    from netsynth.capture import hash_capture
    from netsynth.demux import assemble_flows, read_labels

    table = None if labels is None else read_labels(labels)
    packets, info = read_packets(path, salvage=salvage, decapsulate=decapsulate, progress=progress)
    progress.start("assembling flows")
    flows = assemble_flows(packets, config=sections["demux"], labels=table)
    progress.finish(f"{len(flows):,} flows")
    if table is not None and not flows.label.any():
        raise CaptureError(f"{labels}: no flow of {path} lies in any of its windows; check both")
    about = {
        "name": Path(path).name,
        "sha256": None if str(path) == "-" else hash_capture(path),
        "packets": len(packets),
        "flows": len(flows),
        "span_ns": int(packets.time_ns[-1] - packets.time_ns[0]) + 1,
        "skipped_bytes": info.skipped_bytes,
    }
    return flows, about


def read_traffic(
    paths: Paths, labels: Path | str | None = None, *, salvage: bool, progress: Progress
) -> tuple[PacketTable | FlowTable, CaptureFacts]:
    """Read one capture for a comparison; it may be empty, or hold no IP packet.

    Args:
        paths: A file, folder, pattern or rotation set, or several.
        labels: CSV file of windows of labelled traffic, or None.
        salvage: Read on past damaged records.
        progress: Told what is done.

    Returns:
        The packets, or with `labels` the labelled flows; and what else a comparison can use: the
        name, files, MAC addresses and order of the capture.

    Raises:
        CaptureError: If the capture or the labels cannot be read, or do not belong together.
    """
    from netsynth.capture import read_capture
    from netsynth.demux import assemble_flows, assign_labels, read_labels
    from netsynth.report import CaptureFacts

    windows = None if labels is None else read_labels(labels)
    names, _ = _start(paths, progress)
    packets, info = read_capture(
        names, salvage=salvage, progress=lambda done, total: progress.update(done)
    )
    progress.finish(f"{info.packet_count:,} packets")
    facts = CaptureFacts(
        name=", ".join(Path(path).name for path in names),
        paths=info.paths,
        macs=info.macs,
        out_of_order_count=info.out_of_order_count,
        frame_count=info.frame_count,
    )
    if windows is None:
        return packets, facts
    flows = assign_labels(assemble_flows(packets), windows)
    if len(windows.names) and not flows.label.any():
        raise CaptureError(
            f"{labels}: no flow of {facts.name} lies in any of its windows; check that the file"
            " belongs to this capture, its attacker addresses and times"
        )
    return flows, facts


def learned_part(
    tables: list[FlowTable], sections: Sections, *, progress: Progress
) -> tuple[list[FlowTable], Sections]:
    """Keep whole windows, spread evenly, of captures with more than `demux.learned_packets`.

    Args:
        tables: Flows of each capture; emptied, so that each goes when it is no longer needed.
        sections: Settings; `demux` and `encode` are read.
        progress: Told what is done.

    Returns:
        The flows to learn from, and settings with the windows' length where flows were left out:
        it follows from the whole captures.
    """
    most, series = sections["demux"].learned_packets, sections["encode"].series
    if all(len(flows.packets) <= most for flows in tables):
        return list(tables), sections
    spans = [int(np.ptp(flows.packets.time_ns)) + 1 for flows in tables]
    pieces = [-(-len(flows.packets) // series.window_packets) for flows in tables]
    shortest = min(span // count for span, count in zip(spans, pieces, strict=True))
    window_ns = series.window_ns or max(shortest, 1)
    return _spread(tables, window_ns=window_ns, most=most, progress=progress), {
        **sections,
        "encode": dataclasses.replace(
            sections["encode"], series=dataclasses.replace(series, window_ns=window_ns)
        ),
    }


def _spread(
    tables: list[FlowTable], *, window_ns: int, most: int, progress: Progress
) -> list[FlowTable]:
    from netsynth.demux import spread_windows

    progress.start("choosing windows")
    total = sum(len(flows.packets) for flows in tables)
    kept = []
    while tables:
        flows = tables.pop(0)
        if len(flows.packets) > most:
            flows = spread_windows(flows, window_ns=window_ns, most_packets=most)
        kept.append(flows)
    learned = sum(len(flows.packets) for flows in kept)
    progress.finish(
        f"{learned:,} of {total:,} packets, in windows of {window_ns / 1e9:,.1f} s; "
        "demux.learned_packets sets how many"
    )
    return kept
