"""The model file: whole or absent, same bytes for same content, and clear about what is wrong."""

import contextlib
import errno
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.errors import ModelError
from netsynth.generate.model_file import SCHEMA_VERSION, read_header, read_model, write_model

ARRAYS = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "offsets": np.array([0, 2**40, -1], dtype=np.int64),
    "bits": np.array([[True, False]]),
    "none": np.empty((0, 7), dtype=np.uint8),
    "scalar": np.array(2.5),
}


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = tmp_path / "a.netsynth"
    write_model(path, header={"name": "a", "list": [1, 2.5, None, "é"]}, arrays=ARRAYS)
    header, arrays = read_model(path)
    assert header == {"name": "a", "list": [1, 2.5, None, "é"], "schema_version": SCHEMA_VERSION}
    assert read_header(path) == header
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_the_container_is_what_its_format_says(tmp_path: Path) -> None:
    """Parse by hand: 8-byte length, JSON table, then bytes at the offsets it names."""
    path = tmp_path / "a.netsynth"
    write_model(path, header={"k": 1}, arrays={"w": np.array([1.0, -2.0])})
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    assert json.loads(table["__metadata__"]["netsynth"])["k"] == 1
    begin, end = table["w"]["data_offsets"]
    assert table["w"]["dtype"] == "F64"
    assert struct.unpack("<2d", data[8 + length + begin : 8 + length + end]) == (1.0, -2.0)


def test_transposed_and_big_endian_arrays_keep_their_values(tmp_path: Path) -> None:
    path = tmp_path / "a.netsynth"
    matrix = np.arange(6, dtype=np.int32).reshape(2, 3).T
    write_model(path, header={}, arrays={"t": matrix, "b": np.array([1, 258], dtype=">u2")})
    _, arrays = read_model(path)
    assert arrays["t"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert arrays["b"].tolist() == [1, 258]


def test_same_content_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    forward = {"header": {"a": 1, "b": 2}, "arrays": dict(ARRAYS)}
    backward = {"header": {"b": 2, "a": 1}, "arrays": dict(reversed(ARRAYS.items()))}
    write_model(tmp_path / "x", **forward)  # type: ignore[arg-type]
    write_model(tmp_path / "y", **backward)  # type: ignore[arg-type]
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"x": float("nan")}, {}, "JSON"),
        ({"x": object()}, {}, "JSON"),
        ({}, {"o": np.array([{}], dtype=object)}, "array o is object"),
        ({}, {"s": np.array(["text"])}, "array s is <U4"),
    ],
)
def test_content_that_does_not_fit_is_refused(
    tmp_path: Path, header: dict[str, Any], arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        write_model(tmp_path / "a", header=header, arrays=arrays)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_model_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.netsynth"
    write_model(path, header={"old": True}, arrays={})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match=r"a\.netsynth: cannot write.*No space left"):
        write_model(path, header={"old": False}, arrays=ARRAYS)
    assert read_header(path)["old"] is True
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.netsynth"]


def test_an_unwritable_path_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot write the model: No such file"):
        write_model(tmp_path / "missing" / "a.netsynth", header={}, arrays={})


def test_a_device_or_folder_is_not_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for target in (fifo, tmp_path):
        with pytest.raises(ModelError, match="no ordinary file"):
            write_model(target, header={}, arrays={})
    assert fifo.is_fifo()


def test_missing_folder_empty_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        read_model(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="is a folder"):
        read_model(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(ModelError, match="is empty"):
        read_model(tmp_path / "empty")
    (tmp_path / "capture").write_bytes(bytes.fromhex("d4c3b2a102000400") + b"x" * 99)
    with pytest.raises(ModelError, match="is not a netsynth model"):
        read_model(tmp_path / "capture")
    save_foreign(tmp_path / "foreign", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="safetensors file, but not a netsynth model"):
        read_model(tmp_path / "foreign")


def test_a_newer_schema_asks_for_an_update(tmp_path: Path) -> None:
    save_foreign(tmp_path / "new", metadata={"netsynth": '{"schema_version": 999}'})
    with pytest.raises(
        ModelError, match=rf"schema 999, this netsynth knows {SCHEMA_VERSION}; update"
    ):
        read_model(tmp_path / "new")


def test_an_older_schema_asks_for_a_fit(tmp_path: Path) -> None:
    save_foreign(tmp_path / "old", metadata={"netsynth": '{"schema_version": 1}'})
    with pytest.raises(ModelError, match=r"old has schema 1, which .* no longer reads .*fit again"):
        read_model(tmp_path / "old")


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema_version": "1"}', "not json", ""])
def test_a_header_of_another_shape_is_a_model_error(tmp_path: Path, text: str) -> None:
    save_foreign(tmp_path / "odd", metadata={"netsynth": text})
    with pytest.raises(ModelError, match=r"header"):
        read_model(tmp_path / "odd")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_cut_or_flipped_file_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("m") / "a.netsynth"
    write_model(path, header={"k": "v"}, arrays={"w": np.arange(9, dtype=np.float32)})
    whole = path.read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:length])
    with pytest.raises(ModelError):
        read_model(path)
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(flipped))
    with contextlib.suppress(ModelError):
        read_model(path)


def save_foreign(path: Path, *, metadata: dict[str, str]) -> None:
    """Write a safetensors file by hand, without our writer."""
    table = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(table)) + table)
