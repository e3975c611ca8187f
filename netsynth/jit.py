"""Compile a loop with numba where it is installed; run it as plain Python where it is not.

Importing this module imports numba, so the rest of the room imports its kernels inside functions.
Kernels keep their arithmetic inside int64, so that both ways give the same result bit for bit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

logger = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])

try:
    import numba
except ImportError:
    numba = None
    logger.warning("numba is not installed: flows are assembled by slower loops")


def compiled(function: Function) -> Function:
    """Return `function` compiled to machine code, kept on disk between runs where possible."""
    if numba is None:
        return function
    try:
        kernel: Function = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder that numba may write its cache to
        kernel = numba.njit(nogil=True)(function)
    return kernel
