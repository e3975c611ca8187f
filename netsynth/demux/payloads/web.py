"""HTTP/1.1 and SSDP, which borrows its form.

References:
    RFC 9112 sections 2 to 6; UPnP Device Architecture 2.0 sections 1.2 and 1.3.
"""

from __future__ import annotations

from netsynth.demux.payloads.dns import asked_name
from netsynth.demux.payloads.shape import NAMES, Shape, Template
from netsynth.demux.payloads.words import WORDS, host, line, text

_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64)", "curl/8.5.0", "Wget/1.21.4", "python-requests/2.32")
_SERVERS = ("nginx", "Apache", "nginx/1.24.0", "Apache/2.4.58", "lighttpd/1.4.73", "Caddy")
_KINDS = ("text/html; charset=utf-8", "application/octet-stream", "text/plain")
_LONGEST_QUESTION = 2500  # longer ones are taken for uploads


def build_http(shape: Shape) -> bytes:
    """Build a request or a response, its Content-Length being what follows its head."""
    return _build_request(shape) if shape.is_client else _build_response(shape)


def build_ssdp(shape: Shape) -> bytes:
    """Build a search, an announcement or the answer to a search."""
    name = WORDS[shape.variant * 7]
    if not shape.is_client:
        lines = ["HTTP/1.1 200 OK", "CACHE-CONTROL: max-age=1800", "EXT:", "ST: upnp:rootdevice"]
    elif shape.size < 200 or shape.variant % 2 == 0:
        lines = ["M-SEARCH * HTTP/1.1", "HOST: 239.255.255.250:1900", 'MAN: "ssdp:discover"']
        lines += ["MX: 2", "ST: ssdp:all"]
    else:
        lines = ["NOTIFY * HTTP/1.1", "HOST: 239.255.255.250:1900", "NTS: ssdp:alive"]
        lines += ["NT: upnp:rootdevice", f"USN: uuid:{name}::upnp:rootdevice"]
        lines += [f"LOCATION: http://192.0.2.{shape.variant + 1}/device.xml"]
    return _fit(lines, shape.size, "SERVER: ", shape.variant)


def _build_request(shape: Shape) -> bytes:
    if shape.size < 18:  # empty lines, which a server skips (RFC 9112 section 2.2)
        return b"\r\n" * (shape.size // 2)
    size, body_size = shape.size, 0
    if shape.size > _LONGEST_QUESTION:
        size = shape.first_size if 200 <= shape.first_size <= 800 else 300
        body_size = shape.size - size
    name = asked_name(shape.name_size, shape.name_variant) or host(shape.server)
    target = f"/{WORDS[shape.variant * 3]}"
    lines = [f"{'POST' if body_size else 'GET'} {target} HTTP/1.1", f"Host: {name}"]
    if _length(lines) > size:
        return f"GET /{text(size - 18, shape.variant)} HTTP/1.0\r\n\r\n".encode()
    if body_size:
        lines += [f"Content-Length: {body_size}", "Content-Type: application/octet-stream"]
    for header in (
        f"User-Agent: {_AGENTS[shape.client % len(_AGENTS)]}",
        "Accept: */*",
        "Accept-Language: en-GB,en;q=0.5",
        "Connection: keep-alive",
        f"Referer: http://{name}/",
    ):
        if _length([*lines, header]) <= size:
            lines.append(header)
    rest = size - _length(lines)
    if rest > 60:
        lines.append("Cookie: id=" + text(rest - len("Cookie: id=\r\n"), shape.variant))
    elif rest:
        lines[0] = lines[0].replace(target, target + "-" + text(rest - 1, shape.variant), 1)
    return _join(lines)


def _build_response(shape: Shape) -> bytes:
    if shape.size < 60:
        return _build_empty_response(shape.size, shape.variant)
    kind = _KINDS[shape.variant % len(_KINDS)]
    lines = [
        "HTTP/1.1 200 OK",
        f"Server: {_SERVERS[shape.server % len(_SERVERS)]}",
        f"Content-Type: {kind}",
    ]
    head = _length(lines) + 40
    if head > shape.size:
        lines = lines[:1]
        head = _length(lines) + 24
    if head <= shape.first_size <= 700 and shape.first_size < shape.size:
        head = shape.first_size
    lines.append(f"Content-Length: {shape.size - head}")
    if head - _length(lines) < 0:  # too long a number for so short a message
        return _build_empty_response(shape.size, shape.variant)
    return _fit(lines, head, "X-Id: ", shape.variant)


def _build_empty_response(size: int, variant: int) -> bytes:
    """Return a response without body; its reason is optional (RFC 9112 section 4)."""
    if size == 25:
        return b"HTTP/1.1 100 Continue\r\n\r\n"
    if size < 27:
        return line("HTTP/1.1 204 ", size, variant, end="\r\n\r\n")
    return _fit(["HTTP/1.1 204 No Content"], size, "X-Id: ", variant)


def _fit(lines: list[str], size: int, header: str, variant: int) -> bytes:
    """Join lines to a head of exactly `size` bytes: drop the last ones, or add a header."""
    lines = list(lines)
    while len(lines) > 1 and _length(lines) > size:
        lines.pop()
    rest = size - _length(lines)
    if rest < 0:
        return line(lines[0], size, variant)
    if rest >= len(header) + 2:
        lines.append(header + text(rest - len(header) - 2, variant))
    elif rest:  # too short for the header: lengthen the last line
        lines[-1] += " " * rest if len(lines) > 1 else " " + text(rest - 1, variant)
    return _join(lines)


def _length(lines: list[str]) -> int:
    return sum(len(each) + 2 for each in lines) + 2


def _join(lines: list[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


HTTP = Template(
    build_http,
    frozenset(("size", "first_size", "is_client", "variant", "server", "client", *NAMES)),
)
SSDP = Template(build_ssdp, frozenset({"size", "is_client", "variant"}))
