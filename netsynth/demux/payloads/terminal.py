"""SSH, and the protocols that talk in lines: SMTP, FTP, POP3, IMAP.

References:
    RFC 4253 sections 4.2, 6, 7.1 and 11.2; RFC 5321 section 4.1; RFC 959 section 4; RFC 1939;
    RFC 9051.
"""

from __future__ import annotations

import struct

from netsynth.demux.payloads.shape import Shape, Template
from netsynth.demux.payloads.words import host, line

_LONGEST_TEXT = 8192  # what is longer is begun only
_NEW_KEYS = bytes.fromhex("0000000c0a15") + bytes(10)
_SSH_LISTS = (
    "curve25519-sha256,ecdh-sha2-nistp256,diffie-hellman-group14-sha256",
    "ssh-ed25519,rsa-sha2-512,rsa-sha2-256",
    "chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr,aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr,aes256-gcm@openssh.com",
    "hmac-sha2-256-etm@openssh.com,hmac-sha2-512,hmac-sha2-256",
    "hmac-sha2-256-etm@openssh.com,hmac-sha2-512,hmac-sha2-256",
    "none,zlib@openssh.com",
    "none,zlib@openssh.com",
    "",
    "",
)


def build_ssh(shape: Shape) -> bytes:
    """Build the version line and key exchange; after new keys, bytes may be any."""
    if not shape.is_opening or shape.turn > 2:
        return b""
    if shape.turn > 0:
        rest = shape.size - len(_NEW_KEYS)
        first = _ssh_packet(rest, may_negotiate=shape.turn == 1) if rest else b""
        return first.ljust(rest, b"\0") + _NEW_KEYS if rest >= 16 or rest == 0 else b""
    size = shape.first_size if shape.first_size <= 253 else 23
    if shape.size - size < 8:
        size = min(shape.size, 253)
    banner = line("SSH-2.0-OpenSSH_9.2p1 ", size, shape.variant)
    if size < 24:
        banner = b"SSH-2.0-OpenSSH_9.2p1"[: max(size - 2, 0)] + b"\r\n"[: min(size, 2)]
    return banner + _ssh_packet(shape.size - size, may_negotiate=True)


def build_smtp(shape: Shape) -> bytes:
    """Build a line of a mail dialogue."""
    name = host(shape.variant)
    replies = (f"220 {name} ESMTP ", f"250 {name} ", "250 2.1.0 Ok ", "250 2.1.5 Ok ", "354 Go on ")
    commands = (f"EHLO {name}", f"MAIL FROM:<sage@{name}>", f"RCPT TO:<fern@{name}>", "DATA")
    return _talk(shape, replies, "250 2.0.0 Ok ", commands, "NOOP ")


def build_ftp(shape: Shape) -> bytes:
    """Build a line of an FTP control connection."""
    replies = ("220 Ready ", "331 Password ", "230 Logged in ")
    return _talk(shape, replies, "200 Ok ", ("USER sage", "PASS fern", "SYST"), "NOOP ")


def build_pop3(shape: Shape) -> bytes:
    """Build a line of a POP3 dialogue."""
    return _talk(shape, ("+OK Ready ",), "+OK ", ("USER sage", "PASS fern", "STAT"), "NOOP ")


def build_imap(shape: Shape) -> bytes:
    """Build a line of an IMAP dialogue."""
    commands = ("a0 CAPABILITY", "a1 STATUS INBOX", "a2 SELECT INBOX")
    return _talk(
        shape, ("* OK Ready ",), f"a{shape.turn - 1} OK ", commands, f"a{shape.turn} NOOP "
    )


def _talk(
    shape: Shape, replies: tuple[str, ...], reply: str, commands: tuple[str, ...], command: str
) -> bytes:
    """Return the line of this turn, as long as the message; the last of each kind goes on."""
    lines = commands if shape.is_client else replies
    otherwise = command if shape.is_client else reply
    start = lines[shape.turn] if shape.is_opening and shape.turn < len(lines) else otherwise
    if shape.is_client and len(start) + 2 < shape.size:
        start += " "
    if shape.size > _LONGEST_TEXT:
        return start.encode()
    return line(start, shape.size, shape.variant)


def _ssh_packet(size: int, *, may_negotiate: bool) -> bytes:
    """Return the beginning of an SSH packet of `size` bytes: key exchange, or one to ignore."""
    lists = b"".join(struct.pack(">I", len(each)) + each.encode() for each in _SSH_LISTS)
    body = bytes([20]) + bytes(range(16)) + lists + bytes(5)
    padding = size - 5 - len(body)
    if may_negotiate and padding >= 4:
        names = b""
        if padding > 255:  # more host key names, to fill up
            extra = padding - 8
            names = b",".join([b"x" * 20 + b"@example.com"] * (extra // 33 + 1))[: extra - 1]
            first, second = _SSH_LISTS[0].encode(), _SSH_LISTS[1].encode() + b"," + names
            lists = struct.pack(">I", len(first)) + first + struct.pack(">I", len(second)) + second
            lists += b"".join(struct.pack(">I", len(e)) + e.encode() for e in _SSH_LISTS[2:])
            body = bytes([20]) + bytes(range(16)) + lists + bytes(5)
            padding = size - 5 - len(body)
        return struct.pack(">IB", size - 4, padding) + body + bytes(padding)
    if size < 16:
        return struct.pack(">IB", max(size - 4, 0), 0)[:size]
    return struct.pack(">IBBI", size - 4, 4, 2, size - 14)


_USES = frozenset({"size", "is_client", "turn", "is_opening", "variant"})
_LATER = frozenset({"size", "is_client", "variant"})
SSH = Template(
    build_ssh,
    _USES | {"first_size"},
    uses_later=frozenset(),
    opening_turns=3,
    shortest=8,
    usual=36,
)
SMTP = Template(build_smtp, _USES, uses_later=_LATER, opening_turns=5)
FTP = Template(build_ftp, _USES, uses_later=_LATER, opening_turns=3)
POP3 = Template(build_pop3, _USES, uses_later=_LATER, opening_turns=3)
IMAP = Template(build_imap, _USES, uses_later=_LATER, opening_turns=3)
