"""The `.netsynth` file: arrays and a JSON header in one safetensors container; no pickle.

A safetensors file is an 8-byte length, a JSON table of its tensors, and their bytes. The table has
room for text metadata; one entry of it, `netsynth`, holds our whole header as JSON (one, since the
container does not promise an order among several, and the same model should be the same bytes).
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from netsynth.errors import ModelError
from netsynth.numbers import Array

SCHEMA_VERSION = 6
METADATA_KEY = "netsynth"


def write_model(path: Path | str, *, header: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Write a model file, whole or not at all.

    The bytes go to a temporary file beside `path`, reach the disk, and take its place at once. The
    same header and arrays give the same bytes.

    Args:
        path: Where to write; its folder must exist.
        header: What JSON can hold, without NaN; `schema_version` is added.
        arrays: Numeric or boolean arrays of any shape, by name.

    Raises:
        ModelError: If header or arrays are of a kind the file cannot hold, or the file cannot be
            written (says why).
    """
    from safetensors.numpy import save

    target = Path(path)
    content = {**header, "schema_version": SCHEMA_VERSION}
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{target}: the header does not fit in JSON: {error}") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise ModelError(f"{target}: array {name} is {array.dtype}, which a model cannot hold")
    contiguous = {
        name: np.array(array, dtype=array.dtype.newbyteorder("<"), order="C", copy=None)
        for name, array in arrays.items()
    }
    _replace(target, save(contiguous, metadata={METADATA_KEY: text}))


def read_model(path: Path | str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read a model file; loading runs none of its content.

    Returns:
        The header, and the arrays by name.

    Raises:
        ModelError: If the file is missing, is no model, is cut off, or is of another schema.
    """
    target = Path(path)
    header = read_header(target)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(target, framework="numpy") as container:
            # safe_open hands out views of a mapping that closes with it, so copy.
            arrays = {name: np.array(container.get_tensor(name)) for name in container.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ModelError(f"{target}: the model is damaged ({error}); fit it again") from error
    return header, arrays


def read_header(path: Path | str) -> dict[str, Any]:
    """Read what a model says of itself, without its arrays.

    Raises:
        ModelError: As `read_model`.
    """
    from safetensors import SafetensorError, safe_open

    target = Path(path)
    if target.is_dir():
        raise ModelError(f"{target} is a folder, not a model; name the .netsynth file in it")
    if not target.exists():
        raise ModelError(f"{target}: no such model; `netsynth fit` writes one")
    try:
        with safe_open(target, framework="numpy") as container:
            metadata = container.metadata() or {}
    except OSError as error:
        raise ModelError(f"{target}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelError(_what_is_wrong(target, str(error))) from error
    if METADATA_KEY not in metadata:
        raise ModelError(f"{target} is a safetensors file, but not a netsynth model")
    return _checked_header(target, metadata[METADATA_KEY])


def _checked_header(target: Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{target}: the model's header is damaged: {error}") from error
    version = header.get("schema_version") if isinstance(header, dict) else None
    if not isinstance(version, int):
        raise ModelError(f"{target}: the model's header names no schema version; fit it again")
    if version > SCHEMA_VERSION:
        raise ModelError(
            f"{target} has schema {version}, this netsynth knows {SCHEMA_VERSION}; "
            "update netsynth, or fit again with this one"
        )
    if version < SCHEMA_VERSION:
        raise ModelError(
            f"{target} has schema {version}, which this netsynth no longer reads (it reads "
            f"{SCHEMA_VERSION}); fit again"
        )
    return dict(header)


def _what_is_wrong(target: Path, reason: str) -> str:
    """Tell a model that was cut off from a file that never was one."""
    with target.open("rb") as file:
        start = file.read(9)
        size = os.fstat(file.fileno()).st_size
    if size == 0:
        return f"{target} is empty; fit it again"
    if len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 2**40:
        return f"{target}: the model is cut off or damaged ({reason}); fit it again"
    return f"{target} is not a netsynth model; `netsynth fit` writes one"


def _replace(target: Path, content: bytes) -> None:
    """Put `content` in place of `target` in one step, or leave what was there."""
    if target.exists() and not target.is_file():
        raise ModelError(f"{target}: cannot write the model: it is no ordinary file")
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=".part"
        )
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{target}: cannot write the model: {reason}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _umask() -> int:
    """Read the process's umask, which only setting it tells."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
