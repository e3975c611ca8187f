"""One file through a decoder: a buffer, its refilling, and what is wrong with a record."""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.decoder import Decoder
from netsynth.capture.formats import (
    MAX_INTERFACES,
    SECTION_BLOCK,
    FileHeader,
    Interface,
    names_of_links,
    parse_file_header,
    parse_interface,
    parse_section,
)
from netsynth.capture.links import refusal
from netsynth.capture.records import (
    ADDRESSES_FULL,
    BAD_BLOCK,
    BAD_CAPTURED,
    BAD_INTERFACE,
    BAD_LINK,
    BAD_TIME,
    BAD_WIRE,
    BLOCK,
    END,
    FORMAT,
    FULL,
    HEADER_SIZE,
    IGNORED,
    INTERFACE_COLUMNS,
    INTERFACE_COUNT,
    LINK,
    MAX_BLOCK,
    MORE,
    PCAP,
    PCAPNG,
    POS,
    RECORD,
    REFERENCE_NS,
    REFUSED,
    SKIP,
    SWAP,
)
from netsynth.capture.salvage import LOOK_AHEAD, Search, find_record, typical_second
from netsynth.capture.sources import ByteStream
from netsynth.errors import CaptureError
from netsynth.numbers import Array

FIRST_BYTES = 1 << 16  # looked at before the first record is read
logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class Damage:
    """What salvage skipped."""

    places: int = 0
    bytes: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, reason: str, size: int) -> None:
        """Count a damaged place of `size` bytes; the first hundred reasons are kept."""
        self.places += 1
        self.bytes += size
        if len(self.reasons) < 100:
            self.reasons.append(reason)


class FileReader:
    """Reads one capture file in pieces.

    Attributes:
        header: Byte order, format and interfaces seen so far.
        links: Names of the link types seen so far, in all sections.
    """

    def __init__(self, path: Path, decoder: Decoder, *, salvage: bool, damage: Damage) -> None:
        self._decoder = decoder
        self._salvage = salvage
        self._damage = damage
        self._data: NDArray[np.uint8] = np.zeros(decoder.buffer_size + 64, dtype=np.uint8)
        self._words = self._data.view(np.uint64)
        self._view = self._data.data
        self._base = 0  # offset in the file of the buffer's first byte
        self._at_end = False
        self._stream = ByteStream(path)
        self.interfaces: dict[Interface, None] = {}  # distinct ones of all sections
        self._table = np.zeros((1, INTERFACE_COLUMNS), dtype=np.int64)  # rows of this section's
        state = decoder.state
        state[[POS, END, RECORD]] = 0
        state[REFERENCE_NS] = -1
        try:
            self._open()
        except BaseException:
            self._stream.close()
            raise

    @property
    def name(self) -> str:
        """How messages call the file."""
        return self._stream.name

    @property
    def read_bytes(self) -> int:
        """Bytes taken from disk so far."""
        return self._stream.read_bytes

    @property
    def format(self) -> str:
        """ "pcap" or "pcapng"."""
        return "pcap" if self.header.format == PCAP else "pcapng"

    @property
    def links(self) -> tuple[str, ...]:
        """Names of the link types seen so far."""
        return names_of_links(self.interfaces)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def fill(self, arrays: tuple[Array, ...]) -> bool:
        """Decode records into `arrays` from `state[ROW]` on.

        Args:
            arrays: Columns of packets.

        Returns:
            True if rows ran out, False if the file did.

        Raises:
            CaptureError: If a record is malformed or the file cut off, without salvage.
        """
        state = self._decoder.state
        while True:
            status = self._decoder.decode(self._data, self._words, self._table, arrays)
            if status == FULL:
                return True
            if status == ADDRESSES_FULL:
                self._decoder.grow_addresses()
            elif status == MORE:
                if not self._refill():
                    left = int(state[END] - state[POS])
                    if left == 0:
                        return False
                    self._damaged(self._describe_cut(left))
            elif status == BLOCK:
                self._read_block()
            elif status == SKIP:
                self._skip_block()
            else:
                self._damaged(self._describe(status))

    def _open(self) -> None:
        self._require(FIRST_BYTES)
        head = bytes(self._data[: min(24, int(self._decoder.state[END]))])
        try:
            self.header = parse_file_header(head)
        except CaptureError as error:
            raise CaptureError(f"{self.name}: {error}") from None
        self._apply_header()
        state = self._decoder.state
        state[POS] = self.header.first_record
        if self.header.format == PCAP:
            second = typical_second(self._data[: int(state[END])], self.header)
            state[REFERENCE_NS] = second * 1_000_000_000 if second >= 0 else -1
        if self.header.format == PCAP:
            interface = self.header.interfaces.pop()
            if interface.row()[LINK] == REFUSED:
                raise CaptureError(f"{self.name}: {refusal(interface.link_type)}")
            self._add_interface(interface)

    def _apply_header(self) -> None:
        state = self._decoder.state
        state[FORMAT] = self.header.format
        state[SWAP] = self.header.swap
        state[HEADER_SIZE] = self.header.header_size
        state[INTERFACE_COUNT] = 0

    def _add_interface(self, interface: Interface) -> None:
        count = len(self.header.interfaces)
        if count >= MAX_INTERFACES:
            raise CaptureError(f"has more than {MAX_INTERFACES} interfaces")
        if count == len(self._table):
            self._table = np.concatenate((self._table, np.zeros_like(self._table)))
        self._table[count] = interface.row()
        if self._salvage and self._table[count, LINK] == REFUSED:
            self._table[count, LINK] = IGNORED
        self.header.interfaces.append(interface)
        self.interfaces[interface] = None
        self._decoder.state[INTERFACE_COUNT] = count + 1

    def _refill(self) -> bool:
        """Move what is left to the buffer's front and read on; False at the file's end."""
        state = self._decoder.state
        pos, end = int(state[POS]), int(state[END])
        if pos:
            self._data[: end - pos] = self._data[pos:end]
            self._base += pos
            state[POS], state[END] = 0, end - pos
            end -= pos
        if self._at_end:
            return False
        try:
            count = self._stream.readinto(self._view[end : self._decoder.buffer_size])
        except CaptureError as error:
            self._at_end = True
            text = f"{self.name}: {error} after {self._base + end} bytes; {self._good()}"
            if not self._salvage:
                raise CaptureError(text) from error
            self._damage.add(text, 0)
            return False
        self._at_end = count == 0
        state[END] = end + count
        return count > 0

    def _require(self, count: int) -> bool:
        """Have `count` bytes from POS on in the buffer; False where the file ends before."""
        state = self._decoder.state
        while int(state[END] - state[POS]) < count:
            if not self._refill():
                return False
        return True

    def _peek(self, count: int) -> bytes:
        pos = int(self._decoder.state[POS])
        return bytes(self._data[pos : pos + count])

    def _read_block(self) -> None:
        """Take the section or interface block at POS in."""
        try:
            if not self._require(12):
                raise CaptureError("is cut off in a block header")
            head = self._peek(12)
            is_section = struct.unpack("<I", head[:4])[0] == SECTION_BLOCK
            order = ">" if self.header.swap else "<"
            if is_section:
                swap, length = parse_section(head)
            else:
                swap, length = self.header.swap, struct.unpack(order + "I", head[4:8])[0]
                if length < 20 or length % 4:
                    raise CaptureError(f"has an interface block of {length} bytes")
            if length > MAX_BLOCK:
                raise CaptureError(f"has a header block of {length} bytes")
            if not self._require(length):
                raise CaptureError("is cut off in a header block")
            block = self._peek(length)
            if block[-4:] != struct.pack(">I" if swap else "<I", length):
                raise CaptureError("has a header block whose two lengths differ")
            if is_section:
                self.header = FileHeader(format=PCAPNG, swap=swap, header_size=12, first_record=0)
                self._apply_header()
            else:
                self._add_interface(parse_interface(block, swap))
        except CaptureError as error:
            self._damaged(f"{self._where()} {error}")
            return
        self._decoder.state[POS] += length

    def _skip_block(self) -> None:
        """Pass over a block without packets that is longer than what the buffer holds."""
        state = self._decoder.state
        order = ">I" if self.header.swap else "<I"
        length = struct.unpack(order, self._peek(8)[4:])[0]
        if length <= self._decoder.buffer_size // 2:
            if not self._require(length):
                self._damaged(self._describe_cut(int(state[END] - state[POS])))
            return
        left = length
        where = self._where()
        while left:
            step = min(left, int(state[END] - state[POS]))
            state[POS] += step
            left -= step
            if left and not self._refill():
                self._damaged(f"{where} is a block of {length} bytes, but the file ends before")
                return

    def _damaged(self, text: str) -> None:
        """Report what is wrong at POS, or with salvage find the next record."""
        if not self._salvage:
            raise CaptureError(f"{text}; {self._good()}; capture it again, or pass --salvage")
        start = self._base + int(self._decoder.state[POS])
        self._find_next()
        self._damage.add(text, self._base + int(self._decoder.state[POS]) - start)

    def _find_next(self) -> None:
        """Move POS to the next place that looks like a record, or to the file's end."""
        state = self._decoder.state
        state[POS] = min(state[POS] + 1, state[END])
        found = False
        while not found:
            is_last = not self._require(LOOK_AHEAD)
            pos, end = int(state[POS]), int(state[END])
            near_s = int(state[REFERENCE_NS]) // 1_000_000_000
            search = Search(header=self.header, near_s=near_s, is_last=is_last)
            place, found = find_record(self._data[pos:end], search)
            state[POS] = pos + place
            if is_last:
                break

    def _where(self) -> str:
        state = self._decoder.state
        return (
            f"{self.name}: record {int(state[RECORD]) + 1} at byte {self._base + int(state[POS])}"
        )

    def _good(self) -> str:
        count = int(self._decoder.state[RECORD])
        return f"{count} record{'s' if count != 1 else ''} before it are good"

    def _describe_cut(self, left: int) -> str:
        head = int(self._decoder.state[HEADER_SIZE])
        if left < head:
            return f"{self._where()} is cut off: {left} of its header's {head} bytes are left"
        if self.header.format == PCAP:
            return f"{self._where()} claims {self._frame()[0]} bytes but {left - head} are left"
        return f"{self._where()} claims {self._words_at(4, 1)[0]} bytes but {left} are left"

    def _words_at(self, offset: int, count: int) -> tuple[int, ...]:
        """Return 32-bit words of the record at POS."""
        order = ">" if self.header.swap else "<"
        return struct.unpack(f"{order}{count}I", self._peek(offset + 4 * count)[offset:])

    def _frame(self) -> tuple[int, ...]:
        """Return the captured and wire length that the record at POS claims."""
        if self.header.format == PCAP:
            return self._words_at(8, 2)
        is_simple = self._words_at(0, 1)[0] == 3
        return self._words_at(8, 1) * 2 if is_simple else self._words_at(20, 2)

    def _describe(self, status: int) -> str:
        where = self._where()
        if status == BAD_CAPTURED:
            limit = "any frame" if self.header.format == PCAP else "its block"
            return f"{where} claims {self._frame()[0]} bytes, more than {limit} has"
        if status == BAD_WIRE:
            return f"{where} claims a frame of {self._frame()[1]} bytes"
        if status == BAD_BLOCK:
            return f"{where} is no pcapng block: it claims {self._words_at(4, 1)[0]} bytes"
        if status == BAD_INTERFACE:
            return f"{where} names an interface that the file does not describe"
        if status == BAD_LINK:
            refused = {i.link_type for i in self.header.interfaces if i.row()[LINK] == REFUSED}
            return f"{where}: its interface {refusal(min(refused))}"
        assert status == BAD_TIME
        return f"{where} has a time more than ten years from the first record's"
