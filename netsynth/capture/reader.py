"""One file through a decoder: a buffer, its refilling, and what is wrong with a record."""

from __future__ import annotations

import logging
import struct
from functools import partial
from pathlib import Path

import numpy as np

from netsynth.capture.buffer import RecordBuffer
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
from netsynth.capture.salvage import (
    LOOK_AHEAD,
    Damage,
    Search,
    find_record,
    typical_second,
)
from netsynth.capture.sources import ByteStream
from netsynth.errors import CaptureError
from netsynth.numbers import Array, IntArray

FIRST_BYTES = 1 << 16  # looked at before the first record is read
logger = logging.getLogger(__name__)


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
        self._stream = ByteStream(path)
        self.interfaces: dict[Interface, None] = {}  # distinct ones of all sections
        self._table = np.zeros((1, INTERFACE_COLUMNS), dtype=np.int64)  # rows of this section's
        decoder.state[RECORD], decoder.state[REFERENCE_NS] = 0, -1
        self._buffer = RecordBuffer(
            self._stream,
            decoder.state,
            size=decoder.buffer_size,
            on_failure=partial(_stream_failed, self.name, decoder.state, damage, salvage),
        )
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """How messages call the file."""
        return self._stream.name

    @property
    def read_bytes(self) -> int:
        """Bytes of the file on disk that were decoded so far, about."""
        if self._stream.is_compressed:
            return self._stream.read_bytes
        return self._buffer.offset

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
        if self._buffer.close():
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
        while True:
            status = self._decoder.decode(
                self._buffer.data, self._buffer.words, self._table, arrays
            )
            if status == FULL:
                return True
            if status == ADDRESSES_FULL:
                self._decoder.grow_addresses()
            elif status == MORE:
                if not self._buffer.refill():
                    self._buffer.report_failure()
                    if not self._buffer.left:
                        return False
                    self._damaged(self._describe_cut(self._buffer.left))
            elif status == BLOCK:
                self._read_block()
            elif status == SKIP:
                self._skip_block()
            else:
                self._damaged(self._describe(status))

    def _open(self) -> None:
        self._buffer.require(FIRST_BYTES)
        if self._buffer.left < 24:
            self._buffer.report_failure()
        try:
            self.header = parse_file_header(self._buffer.peek(24))
        except CaptureError as error:
            raise CaptureError(f"{self.name}: {error}") from None
        self._apply_header()
        state = self._decoder.state
        state[POS] += self.header.first_record
        if self.header.format == PCAP:
            second = typical_second(self._buffer.rest(), self.header)
            state[REFERENCE_NS] = second * 1_000_000_000 if second >= 0 else -1
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

    def _read_block(self) -> None:
        """Take the section or interface block at POS in."""
        try:
            if not self._buffer.require(12):
                raise CaptureError("is cut off in a block header")
            head = self._buffer.peek(12)
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
            if not self._buffer.require(length):
                raise CaptureError("is cut off in a header block")
            block = self._buffer.peek(length)
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
        length = self._buffer.words_at(4, 1)[0]
        if length <= MAX_BLOCK:
            if not self._buffer.require(length):
                self._damaged(self._describe_cut(self._buffer.left))
            return
        text = f"{self._where()} is a block of {length} bytes, but the file ends before"
        known_bytes = self._stream.known_bytes
        beyond = known_bytes is not None and self._buffer.offset + length > known_bytes
        if beyond or not self._buffer.skip(length):
            self._damaged(text)

    def _damaged(self, text: str) -> None:
        """Report what is wrong at POS, or with salvage find the next record."""
        self._buffer.report_failure()
        if not self._salvage:
            raise CaptureError(
                f"{text}; {_good(self._decoder.state)}; capture it again, or pass --salvage"
            )
        start = self._buffer.offset
        self._find_next()
        self._damage.add(text, self._buffer.offset - start)

    def _find_next(self) -> None:
        """Move POS to the next place that looks like a record, or to the file's end."""
        state = self._decoder.state
        state[POS] = min(state[POS] + 1, state[END])
        found = is_last = False
        while not found and not is_last:
            is_last = not self._buffer.require(LOOK_AHEAD)
            near_s = int(state[REFERENCE_NS]) // 1_000_000_000
            search = Search(header=self.header, near_s=near_s, is_last=is_last)
            place, found = find_record(self._buffer.rest(), search)
            state[POS] += place

    def _where(self) -> str:
        number = int(self._decoder.state[RECORD]) + 1
        return f"{self.name}: record {number} at byte {self._buffer.offset}"

    def _describe_cut(self, left: int) -> str:
        head = int(self._decoder.state[HEADER_SIZE])
        if left < head:
            return f"{self._where()} is cut off: {left} of its header's {head} bytes are left"
        if self.header.format == PCAP:
            return f"{self._where()} claims {self._frame()[0]} bytes but {left - head} are left"
        return f"{self._where()} claims {self._buffer.words_at(4, 1)[0]} bytes but {left} are left"

    def _frame(self) -> tuple[int, ...]:
        """Return the captured and wire length that the record at POS claims."""
        if self.header.format == PCAP:
            return self._buffer.words_at(8, 2)
        is_simple = self._buffer.words_at(0, 1)[0] == 3
        return self._buffer.words_at(8, 1) * 2 if is_simple else self._buffer.words_at(20, 2)

    def _describe(self, status: int) -> str:
        where = self._where()
        if status == BAD_CAPTURED:
            limit = "any frame" if self.header.format == PCAP else "its block"
            return f"{where} claims {self._frame()[0]} bytes, more than {limit} has"
        if status == BAD_WIRE:
            return f"{where} claims a frame of {self._frame()[1]} bytes"
        if status == BAD_BLOCK:
            return f"{where} is no pcapng block: it claims {self._buffer.words_at(4, 1)[0]} bytes"
        if status == BAD_INTERFACE:
            return f"{where} names an interface that the file does not describe"
        if status == BAD_LINK:
            refused = {i.link_type for i in self.header.interfaces if i.row()[LINK] == REFUSED}
            return f"{where}: its interface {refusal(min(refused))}"
        assert status == BAD_TIME
        return f"{where} has a time more than ten years from the first record's"


def _good(state: IntArray) -> str:
    count = int(state[RECORD])
    return f"{count} records before it are good" if count != 1 else "1 record before it is good"


def _stream_failed(
    name: str, state: IntArray, damage: Damage, salvage: bool, error: CaptureError, offset: int
) -> None:
    """Report that a stream cannot be read on; not a method, so that no cycle holds buffers."""
    text = f"{name}: {error} after {offset} bytes; {_good(state)}"
    if not salvage:
        raise CaptureError(text) from error
    damage.add(text, 0)
