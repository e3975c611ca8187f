"""Rows as tokens, hosts as tokens, addresses bit by bit."""

import ipaddress

import numpy as np
import pytest
from encode_flows import v4
from hypothesis import given
from hypothesis import strategies as st

from netsynth.encode.hosts import (
    RARE_V4,
    RARE_V6,
    SPECIAL,
    HostCodec,
    fit_host_codec,
    from_bits,
    is_v4,
    to_bits,
)
from netsynth.encode.vocabulary import Vocabulary, fit_vocabulary

ROWS = st.lists(st.tuples(st.integers(-1, 300), st.integers(-1, 3)), min_size=1, max_size=60)


@given(ROWS)
def test_all_rows_come_back_where_all_fit(rows: list[tuple[int, int]]) -> None:
    made = fit_vocabulary(np.array(rows), limit=100)
    assert made.size == len(set(rows))
    assert made.rows[made.encode(np.array(rows))].tolist() == [list(row) for row in rows]
    counts = {tuple(row): count for row, count in zip(made.rows.tolist(), made.counts.tolist())}  # noqa: B905
    assert counts == {row: rows.count(row) for row in rows}
    assert (np.diff(made.counts) <= 0).all()


def test_a_row_left_out_becomes_the_one_that_agrees_furthest_left() -> None:
    made = Vocabulary(rows=np.array([[6, 4, 80], [17, 4, 53], [17, 6, 443]]), counts=np.ones(3))
    assert made.find(np.array([[17, 4, 53], [17, 4, 9]])).tolist() == [1, -1]
    # [17, 4, 443]: 1 and 4 agree with row 1 (weight 1.5), 1 and 3 with row 2 (1.25)
    assert made.encode(np.array([[17, 4, 443], [6, 6, 443], [9, 9, 9]])).tolist() == [1, 0, 0]


def test_limits_of_a_vocabulary() -> None:
    rows = np.array([[1]] * 5 + [[2]] * 3 + [[3]] * 2 + [[4]])
    assert fit_vocabulary(rows, limit=2).rows.tolist() == [[1], [2]]
    assert fit_vocabulary(rows, limit=9, smallest_count=3).rows.tolist() == [[1], [2]]
    assert fit_vocabulary(rows, limit=9, smallest_count=99).rows.tolist() == [[1]]
    made = fit_vocabulary(rows, limit=2, always=np.array([[9], [2]]))
    assert made.rows.tolist() == [[9], [2], [1]]
    assert made.counts.tolist() == [0, 3, 5]


def test_negative_numbers_and_large_ones_are_told_apart() -> None:
    rows = np.array([[-1], [255], [2**40]])
    made = fit_vocabulary(rows, limit=9)
    assert made.rows[made.encode(rows)].tolist() == rows.tolist()


@given(st.ip_addresses())
def test_addresses_are_written_most_significant_bit_first(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    mapped = (0xFFFF << 32) + int(address) if address.version == 4 else int(address)
    packed = np.frombuffer(mapped.to_bytes(16, "big"), dtype=np.uint8)[None]
    bits = to_bits(packed)
    assert "".join(map(str, bits[0])) == f"{mapped:0128b}"
    assert (from_bits(bits) == packed).all()
    whole = ipaddress.IPv6Address(mapped)
    assert bool(is_v4(packed)[0]) == (whole.ipv4_mapped is not None)


def test_hosts_that_return_have_tokens_and_others_are_rare() -> None:
    hosts = v4("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
    codec = fit_host_codec(hosts, np.array([1, 9, 2, 0]), limit=9, all_below=0)
    assert codec.addresses[:, 15].tolist() == [2, 3]  # most frequent first, once is not enough
    assert codec.encode(hosts).tolist() == [RARE_V4, SPECIAL, SPECIAL + 1, RARE_V4]
    assert codec.ip_version.tolist() == [4, 6, 4, 4]
    every = fit_host_codec(hosts, np.array([1, 9, 2, 0]), limit=9, all_below=4)
    assert every.addresses[:, 15].tolist() == [2, 3, 1]
    few = fit_host_codec(hosts, np.array([1, 9, 2, 0]), limit=1, all_below=4)
    assert few.addresses[:, 15].tolist() == [2]


@pytest.mark.parametrize(("text", "token"), [("2001:db8::1", RARE_V6), ("::ffff:9.9.9.9", RARE_V4)])
def test_a_rare_host_keeps_its_version(text: str, token: int) -> None:
    packed = np.frombuffer(ipaddress.IPv6Address(text).packed, dtype=np.uint8)[None]
    for known in (v4("10.0.0.1"), v4()):
        assert HostCodec(addresses=known).encode(packed).tolist() == [token]


def test_rare_hosts_are_drawn_in_the_networks_they_came_from() -> None:
    addresses = np.zeros((12, 16), dtype=np.uint8)
    addresses[:10, 10:12] = 255
    addresses[:10, 12:15] = [192, 0, 2]
    addresses[:10, 15] = np.arange(1, 11)
    addresses[10:, :4] = [0x20, 1, 0xD, 0xB8]
    addresses[10:, 15] = [1, 2]
    codec = fit_host_codec(
        addresses, np.ones(12, dtype=np.int64), limit=4, all_below=1
    )  # one flow each: none gets a token
    tokens = np.array([RARE_V4] * 50 + [RARE_V6] * 50)
    drawn = codec.draw_rare(tokens, np.random.default_rng(1))
    assert (drawn[:50, :15] == addresses[0, :15]).all()
    assert ((drawn[:50, 15] >= 1) & (drawn[:50, 15] <= 254)).all()
    assert (drawn[50:, :8] == addresses[10, :8]).all()
    assert len(np.unique(drawn[50:], axis=0)) == 50
