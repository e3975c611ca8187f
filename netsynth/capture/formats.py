"""Headers of pcap and pcapng files: byte order, link types, time resolutions.

References:
    IETF draft-ietf-opsawg-pcap, section 4; draft-ietf-opsawg-pcapng, sections 4.1 and 4.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from netsynth.capture.links import link_code, link_name
from netsynth.capture.records import PCAP, PCAPNG
from netsynth.errors import CaptureError

SECTION_BLOCK, INTERFACE_BLOCK = 0x0A0D0D0A, 1
BYTE_ORDER_MAGIC = 0x1A2B3C4D
MICROSECONDS, NANOSECONDS, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
MAX_INTERFACES = 65_536
MAX_INT64 = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """What one interface's frames and times are like.

    Attributes:
        link_type: Number of the LINKTYPE_ registry.
        snap_length: Bytes kept of a frame, 0 where not limited.
        ticks: Time units in a second.
        offset_s: Seconds to add to its times.
    """

    link_type: int
    snap_length: int = 0
    ticks: int = 1_000_000
    offset_s: int = 0

    @property
    def resolution_ns(self) -> int:
        """Length of a time unit, ns, at least 1."""
        return max(1, 1_000_000_000 // self.ticks)

    def row(self) -> list[int]:
        """Return the interface as a row of the decoders' table (`records`)."""
        multiplier = divisor = shift = 0
        if 1_000_000_000 % self.ticks == 0:
            multiplier = 1_000_000_000 // self.ticks
            largest = MAX_INT64 // multiplier // 2
        elif self.ticks & (self.ticks - 1) == 0:
            shift = self.ticks.bit_length() - 1
            largest = min((1 << 32) * self.ticks, MAX_INT64)
        else:
            divisor = self.ticks // 1_000_000_000
            largest = MAX_INT64
        offset_ns = self.offset_s * 1_000_000_000
        code = link_code(self.link_type)
        return [code, multiplier, divisor, shift, offset_ns, largest, self.snap_length]


@dataclass(kw_only=True, slots=True)
class FileHeader:
    """How the records of a file, or of a pcapng section, are to be read."""

    format: int
    swap: bool
    header_size: int  # bytes before a record's frame (pcapng: of a block's type and length)
    first_record: int  # byte
    interfaces: list[Interface] = field(default_factory=list)


def parse_file_header(head: bytes) -> FileHeader:
    """Read the first bytes of a capture.

    Args:
        head: The file's first bytes, 24 where it has them.

    Returns:
        The header; of a pcapng file, only that it is one.

    Raises:
        CaptureError: If they do not begin a capture (without the file's name).
    """
    if not head:
        raise CaptureError("is empty; capture something first")
    if head[:4] == b"\x0a\x0d\x0d\x0a":
        return FileHeader(format=PCAPNG, swap=False, header_size=12, first_record=0)
    for swap, order in ((False, "<"), (True, ">")):
        magic = struct.unpack(order + "I", head[:4].ljust(4, b"\0"))[0]
        if magic not in (MICROSECONDS, NANOSECONDS, MODIFIED):
            continue
        if len(head) < 24:
            raise CaptureError(f"is cut off: {len(head)} of the file header's 24 bytes are there")
        snap_length, link_type = struct.unpack(order + "II", head[16:24])
        interface = Interface(
            link_type=link_type & 0x03FFFFFF,  # above: length of the frame check sequence
            snap_length=snap_length,
            ticks=1_000_000_000 if magic == NANOSECONDS else 1_000_000,
        )
        return FileHeader(
            format=PCAP,
            swap=swap,
            header_size=24 if magic == MODIFIED else 16,
            first_record=24,
            interfaces=[interface],
        )
    raise CaptureError(
        f"is no capture: it starts with {head[:4].hex(' ')}, pcap and pcapng do not; "
        "convert it with editcap"
    )


def parse_section(block: bytes) -> tuple[bool, int]:
    """Read the start of a section header block.

    Args:
        block: Its first bytes, at least 12.

    Returns:
        Whether the section is big-endian, and the block's length in bytes.

    Raises:
        CaptureError: If it is no section header (without the file's name).
    """
    for swap, order in ((False, "<"), (True, ">")):
        length, magic = struct.unpack(order + "II", block[4:12])
        if magic == BYTE_ORDER_MAGIC:
            if length < 28 or length % 4:
                raise CaptureError(f"has a section header of {length} bytes")
            return swap, length
    raise CaptureError(f"has a section header with the byte order {block[8:12].hex(' ')}")


def parse_interface(block: bytes, swap: bool) -> Interface:
    """Read an interface description block.

    Args:
        block: The whole block.
        swap: Whether the section is big-endian.

    Returns:
        The interface; options that cannot be parsed end the options.

    Raises:
        CaptureError: If its times cannot be counted in ns (without the file's name).
    """
    order = ">" if swap else "<"
    link_type, snap_length = struct.unpack(order + "HxxI", block[8:16])
    ticks, offset_s = 1_000_000, 0
    at, end = 16, len(block) - 4
    while at + 4 <= end:
        code, length = struct.unpack(order + "HH", block[at : at + 4])
        value = block[at + 4 : at + 4 + length]
        if code == 0 or len(value) < length or at + 4 + length > end:
            break
        if code == 9 and length == 1:  # if_tsresol
            exponent = value[0] & 0x7F
            ticks = 1 << exponent if value[0] & 0x80 else 10**exponent
            if ticks > 1 << 63:
                raise CaptureError(f"counts time in units of 1/{ticks} s, finer than can be read")
        elif code == 14 and length == 8:  # if_tsoffset
            offset_s = struct.unpack(order + "q", value)[0]
            if abs(offset_s) > 1 << 32:
                raise CaptureError(f"adds {offset_s} s to its times, beyond the year 2106")
        at += 4 + length + (-length % 4)
    return Interface(link_type=link_type, snap_length=snap_length, ticks=ticks, offset_s=offset_s)


def names_of_links(interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Name the link types of interfaces, each once, in order."""
    return tuple(dict.fromkeys(link_name(interface.link_type) for interface in interfaces))
