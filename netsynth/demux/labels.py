"""Labels of flows: windows of time in which an attacker was at work."""

from __future__ import annotations

import csv
import ipaddress
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import CaptureError, TableError
from netsynth.numbers import IntArray
from netsynth.tables import FlowTable

_HEADER = ("label", "attacker_ip", "start_unix", "end_unix")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelTable:
    """One row a window of labelled traffic; L rows.

    Attributes:
        names: Label of each window, L strings, none empty.
        attackers: uint8 [L, 16]; IPv4 as IPv4-mapped IPv6.
        start_ns: int64 [L], ns since the epoch.
        end_ns: int64 [L], ns since the epoch, inclusive.
    """

    names: tuple[str, ...]
    attackers: NDArray[np.uint8]
    start_ns: IntArray
    end_ns: IntArray

    def __post_init__(self) -> None:
        count = len(self.names)
        if self.attackers.shape != (count, 16) or self.attackers.dtype != np.uint8:
            raise TableError(f"attackers must be uint8 [{count}, 16], one row a label")
        if self.start_ns.shape != (count,) or self.end_ns.shape != (count,):
            raise TableError(f"start_ns and end_ns must be [{count}], one row a label")

    def __len__(self) -> int:
        return len(self.names)


def read_labels(path: Path | str) -> LabelTable:
    """Read windows from a CSV file headed label,attacker_ip,start_unix,end_unix.

    Times are seconds since the epoch, decimals allowed and kept exactly to the nanosecond.

    Raises:
        CaptureError: If the file cannot be read or a line is malformed; names file and line.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CaptureError(
            f"{path}: cannot read labels: {reason}; give a CSV file headed {','.join(_HEADER)}"
        ) from error
    except UnicodeDecodeError as error:
        raise CaptureError(
            f"{path}: cannot read labels: byte {error.start} is not UTF-8; save it as UTF-8 text"
        ) from error
    except csv.Error as error:
        raise CaptureError(f"{path}: cannot read labels: {error}; save it as plain CSV") from error
    if not lines or tuple(cell.strip() for cell in lines[0]) != _HEADER:
        raise CaptureError(f"{path}: line 1 must be the header {','.join(_HEADER)}")
    windows = [
        _parse_window(line, where=f"{path}: line {number}")
        for number, line in enumerate(lines[1:], start=2)
        if any(cell.strip() for cell in line)
    ]
    attackers = b"".join(window[1] for window in windows)
    return LabelTable(
        names=tuple(window[0] for window in windows),
        attackers=np.frombuffer(attackers, dtype=np.uint8).reshape(-1, 16),
        start_ns=np.array([window[2] for window in windows], dtype=np.int64),
        end_ns=np.array([window[3] for window in windows], dtype=np.int64),
    )


def assign_labels(flows: FlowTable, labels: LabelTable) -> FlowTable:
    """Label each flow that starts inside a window and has its attacker at one end.

    Where several windows fit, the first in the table wins. Flows without one keep no label.

    Returns:
        The flows with `label` and `label_names` replaced; everything else is shared.
    """
    names = ("", *dict.fromkeys(labels.names))
    label = np.zeros(len(flows), dtype=np.int16)
    start_ns, addresses = flows.start_ns, flows.packets.addresses
    for row in reversed(range(len(labels))):
        is_attacker = (addresses == labels.attackers[row]).all(axis=1)  # [A]
        is_hit = is_attacker[flows.initiator] | is_attacker[flows.responder]  # [F]
        is_hit &= (start_ns >= labels.start_ns[row]) & (start_ns <= labels.end_ns[row])
        label[is_hit] = names.index(labels.names[row])
    return replace(flows, label=label, label_names=names)


def _parse_window(line: list[str], *, where: str) -> tuple[str, bytes, int, int]:
    if len(line) != len(_HEADER):
        raise CaptureError(f"{where} has {len(line)} fields, but must have {len(_HEADER)}")
    name, attacker, start, end = (cell.strip() for cell in line)
    if not name:
        raise CaptureError(f"{where}: the label is empty; give it a name or drop the line")
    try:
        address = ipaddress.ip_address(attacker)
    except ValueError as error:
        raise CaptureError(f"{where}: attacker_ip {attacker!r} is no IP address") from error
    start_ns, end_ns = (
        _parse_seconds(text, column, where=where)
        for text, column in ((start, "start_unix"), (end, "end_unix"))
    )
    if end_ns < start_ns:
        raise CaptureError(f"{where}: end_unix {end} is before start_unix {start}")
    mapped = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    return name, mapped, start_ns, end_ns


def _parse_seconds(text: str, column: str, *, where: str) -> int:
    try:
        nanoseconds = int(Decimal(text).scaleb(9).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise CaptureError(f"{where}: {column} {text!r} is no number of seconds") from error
    if not 0 <= nanoseconds < 2**63:
        raise CaptureError(f"{where}: {column} {text} is out of range")
    return nanoseconds
