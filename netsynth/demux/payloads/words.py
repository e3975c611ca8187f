"""Names and text of exact lengths from a short word list; nothing here stems from a capture.

References:
    RFC 2606 and RFC 6761 (reserved names), RFC 5737 and RFC 3849 (documentation addresses).
"""

from __future__ import annotations

from functools import lru_cache

WORDS = (
    "amber", "anchor", "apple", "arrow", "atlas", "birch", "blue", "bridge", "cedar", "cloud",
    "coast", "copper", "coral", "delta", "dove", "ember", "fern", "field", "flint", "forest",
    "garden", "glass", "granite", "green", "grove", "harbor", "hazel", "heron", "hill", "indigo",
    "iris", "island", "ivory", "jade", "juniper", "lake", "lark", "lemon", "lilac", "linen",
    "maple", "marble", "meadow", "mint", "moss", "north", "oak", "ocean", "olive", "orchid",
    "pearl", "pine", "plum", "quartz", "rain", "reed", "river", "robin", "sage", "sand",
    "shore", "silver", "slate", "snow", "south", "spruce", "stone", "summit", "swift", "teal",
    "thyme", "tulip", "valley", "violet", "walnut", "wave", "west", "willow", "wind", "wren",
)  # fmt: skip
DOMAINS = ("example.com", "example.org", "example.net", "test", "example")


def text(size: int, seed: int, *, separator: str = "-") -> str:
    """Return words of the list, joined and cut to `size` characters, ending in a letter."""
    if size <= 0:
        return ""
    parts: list[str] = []
    length, number = 0, seed * 7 + 3
    while length < size + 1:
        number = (number * 1103515245 + 12345) & 0x7FFFFFFF
        word = WORDS[(number >> 8) % len(WORDS)]
        parts.append(word)
        length += len(word) + len(separator)
    line = separator.join(parts)[:size]
    return line if line[-1].isalpha() else line[:-1] + "a"


def host(seed: int) -> str:
    """Return a host name under a reserved domain."""
    return f"{WORDS[(seed * 31 + 5) % len(WORDS)]}.{DOMAINS[seed % 3]}"


@lru_cache(maxsize=4096)
def wire_name(size: int, seed: int, *, domains: tuple[str, ...] = DOMAINS) -> bytes:
    """Return a domain name of exactly `size` bytes in DNS form, labels and final 0.

    Sizes 1 and 3 to 255 can be met; 2 gives the root name, one byte short.

    References:
        RFC 1035 section 3.1.
    """
    if size < 3:
        return b"\0"
    for shift in range(len(domains)):
        domain = domains[(seed + shift) % len(domains)]
        base = b"".join(bytes([len(part)]) + part.encode() for part in domain.split(".")) + b"\0"
        room = size - len(base)
        if room == 0:
            return base
        if room >= 2:
            return _labels(room, seed) + base
    return _labels(size - 1, seed) + b"\0"


def _labels(size: int, seed: int) -> bytes:
    """Return labels of `size` bytes in all, at least 2."""
    parts: list[bytes] = []
    while size:
        length = min(size - 1, 9 + (seed + len(parts)) % 5)
        if size - 1 - length == 1:  # a single byte holds no label
            length += 1
        parts.append(bytes([length]) + text(length, seed + 11 * len(parts)).encode())
        size -= 1 + length
    return b"".join(parts)


def line(start: str, size: int, seed: int, *, end: str = "\r\n") -> bytes:
    """Return `start`, words and `end`, `size` bytes in all, `start` cut where it is too long."""
    room = size - len(end)
    if room < 0:
        return end.encode()[-size:] if size else b""
    body = start[:room]
    return (body + text(room - len(body), seed, separator=" ") + end).encode()
