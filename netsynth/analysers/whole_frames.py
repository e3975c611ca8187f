"""Fill the frames of a capture that were cut, so that Suricata looks at them at all."""

from __future__ import annotations

import struct
from pathlib import Path

_ORDERS = {
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\x3c\x4d": ">",
    b"\x4d\x3c\xb2\xa1": "<",
}  # of the bytes of numbers, by the first four; microseconds and nanoseconds
_HEADER, _RECORD = 24, 16  # bytes
_SNAPLEN = 262_144  # bytes of a frame that analysers read


def fill_frames(path: Path, filled: Path) -> bool:
    """Write a pcap file again, each frame as long as it was on the wire, zeros in the end.

    Suricata's decoder refuses IP packets of which bytes are missing, and its stream engine never
    sees them: flows would seem to stay open.

    Args:
        path: A capture.
        filled: File to write.

    Returns:
        Whether it was written: False for other formats than pcap, such as compressed ones.

    Raises:
        OSError: If a file cannot be read or written.

    References:
        draft-ietf-opsawg-pcap, sections 4 and 5.
    """
    with path.open("rb") as source:
        header = source.read(_HEADER)
        order = _ORDERS.get(header[:4])
        if order is None or len(header) < _HEADER:
            return False
        with filled.open("wb") as target:
            target.write(header[:16] + struct.pack(f"{order}I", _SNAPLEN) + header[20:])
            while len(record := source.read(_RECORD)) == _RECORD:
                kept, length = struct.unpack(f"{order}II", record[8:])
                frame = source.read(min(kept, _SNAPLEN))
                if len(frame) < kept:  # the file ends, or claims what cannot be
                    break
                whole = max(kept, min(length, _SNAPLEN))
                target.write(record[:8] + struct.pack(f"{order}II", whole, length))
                target.write(frame.ljust(whole, b"\0"))
    return True
