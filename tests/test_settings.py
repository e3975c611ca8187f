"""Settings are found, described, changed and refused by their dotted names."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from netsynth.errors import ConfigError
from netsynth.settings import (
    change_settings,
    flatten,
    list_settings,
    parse_assignment,
    read_settings,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """An engine."""

    power_watts: int = 90  # at the shaft
    fuel: Literal["petrol", "diesel"] = "petrol"

    def __post_init__(self) -> None:
        if self.power_watts < 1:
            raise ConfigError(f"power_watts is {self.power_watts}, but must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Car:
    """A car.

    Attributes:
        name: What it is called,
            on two lines.
        limit: Speed; None means none.
    """

    name: str = "Ada"
    limit: int | None = None
    share: float = 0.5
    is_new: bool = False
    widths: tuple[int, ...] = (1, 2)
    engine: Engine = field(default_factory=Engine)


SECTIONS = {"car": Car(), "spare": Engine()}


def test_every_field_is_listed_with_default_and_meaning() -> None:
    found = {setting.key: setting for setting in list_settings(SECTIONS)}
    assert list(found) == [
        "car.name", "car.limit", "car.share", "car.is_new", "car.widths",
        "car.engine.power_watts", "car.engine.fuel", "spare.power_watts", "spare.fuel",
    ]  # fmt: skip
    assert found["car.name"].meaning == "What it is called, on two lines."
    assert found["car.engine.power_watts"].meaning == "at the shaft"
    assert found["car.engine.power_watts"].default == 90


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("car.name", "Bo", "Bo"),
        ("car.limit", 130, 130),
        ("car.limit", None, None),
        ("car.limit", 1e3, 1000),
        ("car.share", 1, 1.0),
        ("car.is_new", True, True),
        ("car.widths", [3], (3,)),
    ],
)
def test_a_value_lands_in_its_field(key: str, value: Any, expected: Any) -> None:
    changed = change_settings(SECTIONS, {key: value})
    actual = getattr(changed["car"], key.split(".")[1])
    assert actual == expected
    assert type(actual) is type(expected)
    assert changed["spare"] == Engine()


def test_inner_fields_change_together() -> None:
    changed = change_settings(
        SECTIONS, {"car.engine.power_watts": 5, "car.engine.fuel": "diesel", "car.name": "Bo"}
    )
    assert changed["car"] == Car(name="Bo", engine=Engine(power_watts=5, fuel="diesel"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"car.nmae": 1}, r"no setting car\.nmae; did you mean car\.name\?"),
        ({"power_watts": 1}, r"no setting power_watts; did you mean .*\.power_watts\?"),
        ({"car": 1}, "no setting car;"),
        ({"car.engine": 1}, r"no setting car\.engine;"),
        ({"car.name.x": 1}, r"no setting car\.name\.x;"),
        ({"car.name": 5}, "car.name is 5, but must be str"),
        ({"car.limit": 1.5}, "car.limit is 1.5, but must be int or none"),
        ({"car.limit": True}, "car.limit is True, but must be int or none"),
        ({"car.widths": [1, "a"]}, "car.widths is 'a', but must be int"),
        ({"car.engine.fuel": "wood"}, "car.engine.fuel is 'wood'"),
        ({"car.engine.power_watts": 0}, r"car\.engine: power_watts is 0, but must be at least 1"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        change_settings(SECTIONS, changes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=3", ("a.b", 3)),
        ("a=1e-3", ("a", 0.001)),
        ("a = true", ("a", True)),
        ("a=none", ("a", None)),
        ("a=plain words", ("a", "plain words")),
        ("a=[1, 2]", ("a", [1, 2])),
        ('a="x=y"', ("a", "x=y")),
        ("a=", ("a", "")),
    ],
)
def test_assignments_are_read_as_toml_or_text(text: str, expected: tuple[str, Any]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["a", "=3", ""])
def test_an_assignment_needs_key_and_sign(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        parse_assignment(text)


def test_files_hold_tables_or_dotted_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('car.name = "Bo"\n[car.engine]\npower_watts = 7\n')
    assert read_settings(path) == {"car.name": "Bo", "car.engine.power_watts": 7}
    assert flatten({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


def test_a_bad_file_says_where(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    with pytest.raises(ConfigError, match=r"a\.toml: cannot read settings: No such file"):
        read_settings(path)
    path.write_text("ok = 1\nbroken\n")
    with pytest.raises(ConfigError, match=r"a\.toml: not valid TOML: .*line 2"):
        read_settings(path)
