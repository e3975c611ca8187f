"""Settings by name: every field of the frozen config dataclasses under a dotted key.

A section is a config dataclass under a name ("demux", "encode", "transformer"); its fields, and
those of the dataclasses inside it, are settings such as `encode.series.step_count`. Their meaning
is read where it is written: the comment behind the field, or its entry under "Attributes:".
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsynth.errors import ConfigError

Sections = dict[str, Any]  # name -> config dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One hyperparameter.

    Attributes:
        key: Dotted name, "encode.series.step_count".
        default: Its value where nobody says otherwise.
        kind: Its type, as written: "int", "int | None".
        meaning: What it does, in words; "" where nobody wrote it.
    """

    key: str
    default: Any
    kind: str
    meaning: str


def list_settings(sections: Sections) -> Iterator[Setting]:
    """Yield every setting of `sections`, in the order in which they were written."""
    for name, config in sections.items():
        yield from _list_fields(name, config)


def change_settings(sections: Sections, changes: Mapping[str, Any]) -> Sections:
    """Return `sections` with values replaced.

    Args:
        sections: Config dataclasses by name.
        changes: Values by dotted key; numbers, booleans, strings, lists, or None.

    Raises:
        ConfigError: If a key is unknown, or a value has the wrong type or is out of range.
    """
    nested: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        if name not in sections or not rest:
            raise ConfigError(_unknown(key, sections))
        nested.setdefault(name, {})[rest] = value
    return {
        name: _change(config, nested.get(name, {}), name, sections)
        for name, config in sections.items()
    }


def read_settings(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings as values by dotted key; tables and dotted keys are one.

    Raises:
        ConfigError: If the file is missing or no TOML; names the line.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read settings: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return flatten(content)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split key=value; the value is read as TOML where it is that, and "none" is None.

    Raises:
        ConfigError: If there is no "=".
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r} is no setting; write it as key=value")
    value = value.strip()
    if value.lower() == "none":
        return key.strip(), None
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested tables into values by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unlike_facts(
    old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, ...]
) -> list[str]:
    """Name the settings, and those of `names`, in which the facts of two fits differ.

    Args:
        old: Facts of a model begun before; "settings" among them.
        new: Facts of the fit that would go on with it.
        names: Other facts that must agree.
    """
    before, after = flatten(old["settings"]), flatten(new["settings"])
    differing = [key for key in after if str(before.get(key)) != str(after[key])]
    return differing + [name for name in names if old[name] != new[name]]


def _list_fields(prefix: str, config: Any) -> Iterator[Setting]:
    meanings = _meanings(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        key = f"{prefix}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _list_fields(key, value)
        else:
            kind = getattr(field.type, "__name__", str(field.type))
            meaning = meanings.get(field.name, "")
            yield Setting(key=key, default=value, kind=kind, meaning=meaning)


def _meanings(kind: type) -> dict[str, str]:
    """Read what a dataclass says of its fields, by name."""
    meanings: dict[str, str] = {}
    attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    for match in re.finditer(r"^    (\w+): (.+(?:\n {8}.+)*)", attributes, re.MULTILINE):
        meanings[match[1]] = " ".join(match[2].split())
    try:
        source = inspect.getsource(kind)
    except OSError:  # no source beside the code: names and defaults must do
        return meanings
    for match in re.finditer(r"^    (\w+): [^#\n]*#\s*(.+)$", source, re.MULTILINE):
        meanings.setdefault(match[1], match[2].strip())
    return meanings


def _change(config: Any, changes: dict[str, Any], prefix: str, sections: Sections) -> Any:
    """Replace fields of one dataclass, and of those inside it."""
    if not changes:
        return config
    hints = typing.get_type_hints(type(config))
    fields = {field.name for field in dataclasses.fields(config)}
    values: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        full = f"{prefix}.{key}"
        is_section = name in fields and dataclasses.is_dataclass(getattr(config, name))
        if name not in fields or is_section != bool(rest):
            raise ConfigError(_unknown(full, sections))
        if rest:
            inner.setdefault(name, {})[rest] = value
        else:
            values[name] = _coerce(value, hints[name], full)
    for name, part in inner.items():
        values[name] = _change(getattr(config, name), part, f"{prefix}.{name}", sections)
    try:
        return dataclasses.replace(config, **values)
    except ConfigError as error:
        raise ConfigError(f"{prefix}: {error}") from error


def _coerce(value: Any, hint: Any, key: str) -> Any:
    """Fit a value from TOML, JSON or a command line to a field's type."""
    choices = (
        typing.get_args(hint)
        if typing.get_origin(hint) in (typing.Union, types.UnionType)
        else (hint,)
    )
    for choice in choices:
        origin = typing.get_origin(choice) or choice
        if value is None and choice is type(None):
            return None
        if choice is bool and isinstance(value, bool):
            return value
        if isinstance(value, bool):
            continue
        if choice is int and isinstance(value, (int, float)) and float(value).is_integer():
            return int(value)
        if choice is float and isinstance(value, (int, float)):
            return float(value)
        if choice is str and isinstance(value, str):
            return value
        if origin is typing.Literal and value in typing.get_args(choice):
            return value
        if origin is tuple and isinstance(value, (list, tuple)):
            part = (typing.get_args(choice) or (Any,))[0]
            return tuple(_coerce(item, part, key) for item in value)
        if choice is Any:
            return value
    names = " or ".join(getattr(choice, "__name__", str(choice)) for choice in choices)
    raise ConfigError(f"{key} is {value!r}, but must be {names.replace('NoneType', 'none')}")


def _unknown(key: str, sections: Sections) -> str:
    keys = [setting.key for setting in list_settings(sections)]
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    near = near or [known for known in keys if known.endswith(f".{key.rpartition('.')[2]}")][:1]
    hint = f"did you mean {near[0]}? " if near else ""
    return f"there is no setting {key}; {hint}`netsynth config` lists them all"
