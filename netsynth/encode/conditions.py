"""Conditions on what is sampled, such as label=portscan or port=443, as masks of tokens."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.codec import Codec
from netsynth.errors import ConfigError

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
KEYS = ("label", "protocol", "port", "ip")


def allowed_tokens(codec: Codec, where: Mapping[str, str]) -> dict[str, NDArray[np.bool_]]:
    """Turn conditions into the tokens that fulfil them.

    Args:
        codec: What the model was fitted with.
        where: Of "label" (its name; "" is none), "protocol" (name or number), "port" (the
            responder's) and "ip" (4 or 6); all must hold.

    Returns:
        Tokens that a column may take, bool [size] by the column's name.

    Raises:
        ConfigError: If a key is unknown, or the capture held nothing that fulfils a condition.
    """
    allowed: dict[str, NDArray[np.bool_]] = {}
    for key, value in where.items():
        if key not in KEYS:
            raise ConfigError(f"there is no condition {key}; there are {', '.join(KEYS)}")
        column = "label" if key == "label" else "service"
        mask = _labels(codec, value) if key == "label" else _services(codec, key, value)
        allowed[column] = allowed.get(column, np.ones(mask.size, dtype=np.bool_)) & mask
    for column, mask in allowed.items():
        if not mask.any():
            conditions = " and ".join(f"{key}={value}" for key, value in where.items())
            raise ConfigError(f"the model has learned no {column} with {conditions}")
    return allowed


def _labels(codec: Codec, name: str) -> NDArray[np.bool_]:
    if name not in codec.label_names:
        known = ", ".join(codec.label_names[1:]) or "none; fit with --labels"
        raise ConfigError(f"the model knows no label {name!r}; it knows {known}")
    return np.array([label == name for label in codec.label_names])


def _services(codec: Codec, key: str, value: str) -> NDArray[np.bool_]:
    """Services by a column of their rows (protocol, IP version, port)."""
    number = PROTOCOLS.get(value.lower()) if key == "protocol" else None
    if number is None:
        if not value.isdigit():
            raise ConfigError(f"{key}={value}: {value!r} is no {key}")
        number = int(value)
    place = {"protocol": 0, "ip": 1, "port": 2}[key]
    mask: NDArray[np.bool_] = codec.services.rows[:, place] == number
    if key == "port" and not mask.any():
        ports = sorted({int(port) for port in codec.services.rows[:, 2] if port > 0})
        some = ", ".join(map(str, ports[:12])) + (" ..." if len(ports) > 12 else "")
        raise ConfigError(f"port={value}: the model has learned no such service; it knows {some}")
    return mask
