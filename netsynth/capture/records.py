"""Numbers that the two decoders (numba and numpy) and the reader agree on.

A decoder walks the records of a buffer and fills columns; everything else that it must remember
or report lies in one int64 array, `state`, at the places below, and in the tables of `Decoder`, so
that both decoders could be exchanged in the middle of a file.
"""

from __future__ import annotations

# Places in `state` that the reader sets for each file or section.
POS, ROW, ROW_LIMIT, END, FORMAT, SWAP, HEADER_SIZE, INTERFACE_COUNT, DECAPSULATE = range(9)
REFERENCE_NS, RECORD = 9, 10
# Places that count over the whole capture.
FRAMES, NON_IP, TRUNCATED, IP_BAD, L4_BAD, L4_UNKNOWN, OUT_OF_ORDER, FRAGMENTS = range(11, 19)
FIRST_NS, LAST_NS, WIRE_BYTES, ADDRESSES, MACS, UNTIMED = range(19, 25)
STATE_SIZE = 32

PCAP, PCAPNG = 0, 1

# What a decoder returns.
FULL = 0  # no row is left
MORE = 1  # the record at POS is not whole in the buffer
ADDRESSES_FULL = 2  # the address table must grow
BLOCK = 3  # the pcapng block at POS describes a section or an interface
SKIP = 4  # the pcapng block at POS holds no packet and is longer than the buffer
BAD_CAPTURED, BAD_WIRE, BAD_TIME, BAD_BLOCK, BAD_INTERFACE, BAD_LINK = range(5, 11)

MAX_CAPTURED = 262_144  # bytes of one frame; tcpdump's and Wireshark's own limit
MAX_WIRE = 1 << 24  # bytes that a frame may claim to have had on the wire, or a block to have
MAX_BLOCK = 1 << 19  # bytes of a pcapng block that must be held whole
MAX_TIME_STEP_NS = 315_576_000_000_000_000  # ten years: further from the first record is no time

# Columns of an interface's row, int64.
LINK, TIME_MUL, TIME_DIV, TIME_SHIFT, TIME_OFFSET_NS, TIME_MAX_UNITS, SNAP = range(7)
INTERFACE_COLUMNS = 7

# How frames of an interface begin (column LINK). Frames of a REFUSED one are an error, those of an
# IGNORED one are counted.
ETHERNET, RAW_IP, LOOPBACK, COOKED, COOKED_2, PPP, CISCO_HDLC, REFUSED, IGNORED = range(9)

# Rows of the counts of frames without IP: an EtherType, LLC + DSAP, or one of these.
LLC = 65_536
SNAP_OTHER = LLC + 256
CUT_SHORT = LLC + 257
BAD_IPV4 = LLC + 258
BAD_IPV6 = LLC + 259
OTHER_FAMILY = LLC + 260
REFUSED_LINK = LLC + 261
COUNT_SIZE = LLC + 272

ADDRESS_HEADROOM = 1024  # free rows of the address table that a batch of records may need
MAC_SLOTS = 1 << 17
MAC_LIMIT = 65_536
MAX_TUNNELS = 8
MAX_EXTENSIONS = 32
PAIR_COUNT = 1 << 11  # pairs of addresses that the compiled decoder keeps in mind
