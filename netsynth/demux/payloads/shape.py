"""What a template is told about a message, and what it says about itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

VARIANT_COUNT = 8
SERVER_COUNT = 64
CLIENT_COUNT = 4
NAMES = ("name_size", "name_variant")  # fields of Shape that tell a name
TURN_LIMIT = 7  # later turns count as this one


class Shape(NamedTuple):
    """A message to be built; what a template does not use is 0.

    Attributes:
        size: Bytes of the whole message.
        first_size: Bytes of its first packet.
        lead_size: Bytes of as many first packets as a TLS record holds.
        asked_size: Bytes of the message that it answers; 0 where it answers none.
        is_client: Whether the client sends it.
        turn: Messages that its side sent before, TURN_LIMIT at most.
        is_opening: Whether the connection was seen from its start.
        variant: 0 to VARIANT_COUNT - 1, the same for a question and its answer.
        icmp: Type << 8 | code of an ICMP message.
        server: 0 to SERVER_COUNT - 1, the same for all messages to and from a server.
        client: 0 to CLIENT_COUNT - 1, the same for all that a client sends; 0 for a server's.
        name_size: Bytes of the DNS query that asked for the server's name; 0 where none did.
        name_variant: The variant of that query.
    """

    size: int
    first_size: int = 0
    lead_size: int = 0
    asked_size: int = 0
    is_client: bool = True
    turn: int = 0
    is_opening: bool = True
    variant: int = 0
    icmp: int = 0
    server: int = 0
    client: int = 0
    name_size: int = 0
    name_variant: int = 0


class Patch(NamedTuple):
    """Bytes that differ between messages of the same shape.

    Attributes:
        offset: Where in the message.
        width: Bytes.
        source: "exchange" is the same for a question and its answer, "flow" for a whole flow,
            "message" for one message; "source" and "target" are its addresses' last bytes; "time"
            and "asked_time" when it was sent, and when what it answers was, as NTP writes them.
        first_turn_only: Leave later messages of the side as they are.
        sender: Who sends the messages concerned; "" for both.
    """

    offset: int
    width: int
    source: Literal["exchange", "flow", "message", "source", "target", "time", "asked_time"]
    first_turn_only: bool = False
    sender: Literal["", "client", "server"] = ""


class Template(NamedTuple):
    """How the messages of one application begin.

    Attributes:
        build: Returns the first bytes of a message; what exceeds its size is cut.
        uses: Fields of Shape that it looks at; others are 0 (False).
        uses_later: The same for messages that open nothing: a later turn than `opening_turns`,
            or a connection whose start was not seen; None where nothing changes.
        opening_turns: Messages of a side that differ from its later ones.
        patches: Written over what it returns, where that is long enough.
        has_records: Whether the stream goes on in TLS records.
        shortest: Bytes of its shortest datagram, or segment with data.
        usual: Bytes that a shorter one gets; no other size would be as plain.
        step: Longer ones are as many bytes longer, or a multiple; 1 where any size will do.
        checksum_at: Where the Internet checksum of the whole message belongs; -1 for none.
    """

    build: Callable[[Shape], bytes]
    uses: frozenset[str]
    uses_later: frozenset[str] | None = None
    opening_turns: int = 0
    patches: tuple[Patch, ...] = ()
    has_records: bool = False
    checksum_at: int = -1
    shortest: int = 0
    usual: int = 0
    step: int = 1
