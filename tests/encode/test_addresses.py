"""The address map keeps prefixes exactly and blocks apart; Python's `ipaddress` is the judge."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from netsynth.encode.addresses import AddressMap
from netsynth.encode.siphash import siphash
from netsynth.errors import TableError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NONE = np.empty((0, 16), dtype=np.uint8)
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")
V6_BLOCKS = ("fc00::/7", "fe80::/10", "2001:db8::/32", "2002::/16")
UNCHANGED = (
    "0.0.0.0",
    "127.0.0.1",
    "224.0.0.251",
    "239.255.255.250",
    "255.255.255.255",
    "::",
    "::1",
    "ff02::fb",
    "ff02::1:ff12:3456",
)


def pack(addresses: list[Address]) -> NDArray[np.uint8]:
    rows = [b"\0" * 10 + b"\xff\xff" + a.packed if a.version == 4 else a.packed for a in addresses]
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, 16)


def unpack(rows: NDArray[np.uint8]) -> list[Address]:
    whole = [ipaddress.IPv6Address(row.tobytes()) for row in rows]
    return [address.ipv4_mapped or address for address in whole]


def through(
    key: int, addresses: list[Address], avoid: list[Address] | None = None
) -> list[Address]:
    return unpack(AddressMap(key, pack(avoid) if avoid else NONE).map(pack(addresses)))


def shared_bits(a: Address, b: Address) -> int:
    assert a.version == b.version
    return a.max_prefixlen - (int(a) ^ int(b)).bit_length()


def addresses_in(network: str) -> st.SearchStrategy[Address]:
    net = ipaddress.ip_network(network)
    span = net.num_addresses - 1
    # Near neighbours share long prefixes, which uniform draws would never show.
    offsets = st.one_of(st.integers(0, span), st.integers(0, min(span, 600)))
    return offsets.map(lambda offset: net[offset])


V4 = st.one_of(addresses_in("0.0.0.0/0"), addresses_in("192.160.0.0/11"), addresses_in("8.0.0.0/7"))
V6 = st.one_of(addresses_in("2000::/3"), addresses_in("::/0"), *map(addresses_in, V6_BLOCKS))
KEYS = st.integers(-(2**80), 2**80)


def test_siphash_gives_the_value_of_its_paper() -> None:
    """Appendix A: key 00..0f, message 00..0e (15 bytes), SipHash-2-4 is a129ca6149be45e5."""
    key = np.frombuffer(bytes(range(16)), dtype="<u8").astype(np.uint64)
    message = bytes(range(15)) + bytes([15])
    words = [np.full(2, word, dtype=np.uint64) for word in np.frombuffer(message, dtype="<u8")]
    assert [hex(int(value)) for value in siphash(key, words)] == ["0xa129ca6149be45e5"] * 2


@settings(deadline=None, max_examples=100)
@given(KEYS, st.lists(V4, min_size=2, max_size=12), st.lists(V6, min_size=2, max_size=12))
def test_two_addresses_share_the_same_prefix_after_as_before(
    key: int, v4: list[Address], v6: list[Address]
) -> None:
    for addresses in (v4, v6):
        images = through(key, addresses)
        for a, image_a in zip(addresses, images, strict=True):
            for b, image_b in zip(addresses, images, strict=True):
                assert shared_bits(image_a, image_b) == shared_bits(a, b)


@settings(deadline=None, max_examples=30)
@given(KEYS, st.data())
@pytest.mark.parametrize("network", [*PRIVATE, *V6_BLOCKS, "203.0.113.0/24", "240.0.0.0/5"])
def test_a_block_maps_onto_itself(network: str, key: int, data: st.DataObject) -> None:
    inside = data.draw(st.lists(addresses_in(network), min_size=1, max_size=5))
    assert all(image in ipaddress.ip_network(network) for image in through(key, inside))


@settings(deadline=None, max_examples=100)
@given(KEYS, st.lists(V4, min_size=1, max_size=20), st.lists(V6, min_size=1, max_size=5))
def test_public_stays_public(key: int, v4: list[Address], v6: list[Address]) -> None:
    global_unicast = ipaddress.ip_network("2000::/3")
    public = [a for a in v4 if a.is_global and not a.is_multicast]
    public += [a for a in v6 if a.is_global and a in global_unicast]
    for image in through(key, public) if public else []:
        assert image.is_global
        assert not image.is_multicast
        assert image.version == 4 or image in global_unicast


@given(KEYS)
@settings(deadline=None, max_examples=20)
def test_addresses_with_a_fixed_meaning_stay(key: int) -> None:
    addresses = [ipaddress.ip_address(text) for text in UNCHANGED]
    assert through(key, addresses, avoid=addresses) == addresses


@settings(deadline=None, max_examples=80)
@given(KEYS, st.one_of(addresses_in("0.0.0.0/0"), *map(addresses_in, PRIVATE)))
def test_the_ends_of_a_24_stay_its_ends(key: int, address: Address) -> None:
    network = int(address) & ~0xFF
    for host in (0, 1, 255):
        (image,) = through(key, [ipaddress.IPv4Address(network + host)])
        assert int(image) & 0xFF == host


def test_link_local_keeps_its_prefix_and_changes_its_interface() -> None:
    address = ipaddress.ip_address("fe80::a00:27ff:fe4e:66a1")
    (image,) = through(7, [address], avoid=[address])
    assert shared_bits(image, address) >= 64
    assert image != address


@settings(deadline=None, max_examples=40)
@given(
    KEYS,
    st.sets(
        st.one_of(
            addresses_in("10.77.0.0/24"), addresses_in("93.184.0.0/16"), addresses_in("2600::/12")
        ),
        min_size=1,
        max_size=60,
    ),
)
def test_no_learned_address_comes_out(key: int, learned: set[Address]) -> None:
    avoid = sorted(learned, key=int)
    mapping = AddressMap(key, pack(avoid))
    assert mapping.crowded == ()
    images = unpack(mapping.map(pack(avoid)))
    assert not set(images) & learned
    assert len(set(images)) == len(learned)
    assert not set(through(key, images, avoid)) & learned  # nor from addresses not learned


def test_a_block_too_full_to_avoid_is_named() -> None:
    """Two thirds of the /24s of 192.168.0.0/16 cannot map into the last third."""
    full = [ipaddress.IPv4Address(f"192.168.{net}.1") for net in range(256) if net % 3]
    mapping = AddressMap(1, pack([*full, ipaddress.ip_address("8.8.8.8")]))
    assert mapping.crowded == ("192.168.0.0/16",)


def test_same_key_same_map_and_another_key_another() -> None:
    addresses = [ipaddress.IPv4Address(f"10.1.{i}.9") for i in range(50)]
    assert through(5, addresses) == through(5, addresses)
    assert through(5, addresses) != through(6, addresses)


def test_order_and_repeats_do_not_matter() -> None:
    addresses = [ipaddress.ip_address(text) for text in ("10.0.0.9", "1.2.3.4", "10.0.0.9")]
    images = through(3, addresses)
    assert images[0] == images[2]
    assert through(3, addresses[::-1]) == images[::-1]


def test_flips_are_even_over_keys() -> None:
    """Each free bit of 93.184.216.34 flips for about half of the keys, to 5 sigma."""
    address = ipaddress.IPv4Address("93.184.216.34")
    images = [int(through(key, [address])[0]) ^ int(address) for key in range(200)]
    flips = [sum(image >> (31 - bit) & 1 for image in images) for bit in range(24)]
    free = [count for count in flips if count]
    assert len(free) >= 20
    assert all(abs(count - 100) < 36 for count in free)


def test_nothing_maps_to_nothing() -> None:
    assert AddressMap(1, NONE).map(NONE).shape == (0, 16)


@pytest.mark.parametrize("shape", [(3, 4), (16,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TableError, match=r"must be uint8 \[M, 16\]"):
        AddressMap(1, NONE).map(np.zeros(shape, dtype=np.uint8))
