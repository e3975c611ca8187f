"""Which engine reads and writes: compiled by numba, or numpy alone."""

from __future__ import annotations

import logging
import os
from typing import Literal

from netsynth.errors import ConfigError

Engine = Literal["auto", "numba", "numpy"]
logger = logging.getLogger(__name__)


def choose_engine(engine: Engine) -> Literal["numba", "numpy"]:
    """Resolve "auto": numba where it works, unless NETSYNTH_ENGINE says numpy.

    Raises:
        ConfigError: If the engine is unknown, or is numba and numba does not work.
    """
    if engine not in ("auto", "numba", "numpy"):
        raise ConfigError(f"engine is {engine!r}, but must be auto, numba or numpy")
    if engine == "numpy" or (engine == "auto" and os.environ.get("NETSYNTH_ENGINE") == "numpy"):
        return "numpy"
    try:
        from netsynth.capture import loads_numba  # noqa: F401
    except (ImportError, RuntimeError) as error:  # RuntimeError: nowhere to keep compiled code
        if engine == "numba":
            raise ConfigError(f"numba cannot be used ({error}); choose numpy") from error
        logger.warning("reading and writing ten to twenty times slower: no numba (%s)", error)
        return "numpy"
    return "numba"
