"""Repairs that look at a whole flow, by hand: openings, closings, and who speaks too early."""

from __future__ import annotations

import numpy as np
import pytest
from demux_actions import HANDSHAKE, STEP_NS, Action, dialogue, flow_table

from netsynth.demux import CompiledPackets, compile_flows
from netsynth.tables import (
    ACK,
    ACK_SAME,
    AHEAD,
    ICMP,
    ICMPV6,
    KEEP_ALIVE,
    NO_WINDOW_SCALE,
    OPTION_MSS,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    RETRANSMIT,
    RST,
    SYN,
    UDP,
)

FULL = OPTION_MSS | OPTION_WINDOW_SCALE | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS
OFFER = {"option_bits": FULL, "mss": 1460, "window_scale": 7, "window": 64_240}
SCALED = {"option_bits": OPTION_TIMESTAMPS, "window": 502}


def compiled(*flows: list[Action]) -> CompiledPackets:
    return compile_flows(flow_table(list(flows)), seed=1, payload="zero")


def letters(result: CompiledPackets) -> list[str]:
    """Return each packet's direction and flags, as in ">S" or "<SA"."""
    p = result.packets
    client = p.src[0]
    return [
        (">" if p.src[i] == client else "<")
        + "".join(c for bit, c in enumerate("FSRPAUEC") if p.tcp_flags[i] >> bit & 1)
        for i in range(len(p))
    ]


def open_as(client: dict[str, int], server: dict[str, int]) -> list[Action]:
    """Return a small exchange over whose scaled windows the SYNs decide."""
    return [
        Action("S", **client),
        Action("SA", True, **server),
        Action("A", **SCALED),
        Action("PA", payload=100, **SCALED),
        Action("PA", True, 1448, **SCALED),
        Action("A", **SCALED),
    ]


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (OFFER, {"option_bits": 0, "window": 502}),
        ({"option_bits": OPTION_MSS, "mss": 1460, "window": 64_240}, {"window": 65_160}),
    ],
    ids=["SYN-ACK without an MSS", "scaled windows without a scale"],
)
def test_an_incomplete_opening_takes_its_hosts_options(
    client: dict[str, int], server: dict[str, int]
) -> None:
    usual = {**OFFER, "window": 65_160, "window_scale": 9}
    result = compiled(open_as(OFFER, usual), open_as(OFFER, usual), open_as(client, server))
    p = result.packets
    assert result.repairs["opening_completed"] == 1
    assert p.option_bits[12:14].tolist() == [FULL, FULL]
    assert p.mss[12:14].tolist() == [1460, 1460]
    assert p.window_scale[12:14].tolist() == [7, 9]
    assert p.window[12:14].tolist() == [64_240, 65_160]
    assert result.repairs["window_raised"] == 0


def test_a_host_that_never_scales_is_left_alone() -> None:
    plain = {"option_bits": OPTION_MSS, "mss": 1460, "window": 8192}
    later = {"option_bits": 0, "window": 8192}
    flow = [Action("S", **plain), Action("SA", True, **plain), Action("A", **later)]
    flow += [Action("PA", payload=100, **later), Action("A", True, **later)]
    result = compiled(open_as(OFFER, OFFER), flow)
    assert not any(result.repairs.values())
    assert result.packets.window_scale[6:8].tolist() == [NO_WINDOW_SCALE] * 2


def test_a_repeated_syn_repeats_its_window() -> None:
    again = Action("S", option_bits=FULL, window=63)
    result = compiled([Action("S", **OFFER), again])
    assert result.packets.window.tolist() == [64_240, 64_240]


CLOSINGS: dict[str, tuple[list[Action], list[str]]] = {
    "after the other's data": (
        [Action("PA", payload=9), Action("FA", True), Action("FA")],
        [">FPA", "<FA", ">A"],
    ),
    "where the first FIN is all that is left": (
        [Action("A", True), Action("PA", payload=9), Action("FA"), Action("FA", True)],
        ["<FA", ">PA", ">FA", "<A"],
    ),
}


@pytest.mark.parametrize("name", CLOSINGS)
def test_the_last_fin_is_acknowledged(name: str) -> None:
    actions, expected = CLOSINGS[name]
    result = compiled([*HANDSHAKE, *actions])
    assert letters(result)[3:] == expected
    assert result.repairs["fin_moved"] == 1
    p = result.packets
    last = len(p) - 1
    # the last packet acknowledges everything of the other side, its FIN included
    other = [i for i in range(len(p)) if p.src[i] != p.src[last]]
    end = max(
        int(p.seq[i]) + int(p.payload_length[i]) + int(p.tcp_flags[i] & 1)
        + (int(p.tcp_flags[i]) >> 1 & 1)
        for i in other
    )  # fmt: skip
    assert int(p.ack[last]) == end % 2**32


@pytest.mark.parametrize(
    "tail",
    [
        [Action("FA"), Action("FA", True), Action("A")],
        [Action("FA"), Action("PA", True, 5), Action("FA", True)],  # data between: no room
        [Action("FA"), Action("FA", True), Action("R")],
        [Action("FA"), Action("A", True)],
    ],
)
def test_other_closings_stay_as_they_are(tail: list[Action]) -> None:
    result = compiled([*HANDSHAKE, *tail])
    assert result.repairs["fin_moved"] == 0
    assert sum("F" in each for each in letters(result)) == sum("F" in a.flags for a in tail)


def test_a_last_fin_that_cannot_move_is_acknowledged_by_one_packet_more() -> None:
    """1 ms a step; the client answers the SYN-ACK after 1 ms, and so the FIN at 5 ms."""
    tail = [Action("FA"), Action("PA", True, 5), Action("FA", True, ack_class=ACK_SAME)]
    table = flow_table([[*HANDSHAKE, *tail], dialogue(100)])
    result = compile_flows(table, seed=1, payload="zero")
    p = result.packets
    assert result.repairs["ack_inserted"] == 1
    assert letters(result)[3:7] == [">FA", "<PA", "<FA", ">A"]
    assert p.time_ns[6] - p.time_ns[0] == 6 * STEP_NS
    assert p.payload_length[6] == 0
    assert [int(p.seq[6]) - int(p.seq[3]), int(p.ack[6]) - int(p.seq[5])] == [1, 1]
    assert int(p.ack[5]) - int(p.seq[3]) == 1
    assert result.flow.tolist() == [0] * 7 + [1] * 8


def test_the_last_segment_of_either_side_acknowledges_the_fins() -> None:
    """The server repeats its FIN after the client's, and acknowledges that."""
    again = Action("FA", True, segment=RETRANSMIT, ack_class=ACK_SAME)
    result = compiled([*HANDSHAKE, Action("FA", True), Action("FA"), again])
    p = result.packets
    assert letters(result)[3:] == ["<FA", ">FA", "<FA"]
    assert p.seq[5] == p.seq[3]
    assert int(p.ack[5]) - int(p.seq[4]) == 1


def test_who_closes_early_closes_with_its_last_segment() -> None:
    """Three segments follow the client's FIN; it has one ACK left to close with."""
    answer = [Action("PA", True, 500) for _ in range(3)]
    tail = [Action("FA"), answer[0], Action("A"), *answer[1:], Action("FA", True)]
    result = compiled([*HANDSHAKE, *tail])
    assert letters(result)[3:] == [">A", "<PA", ">FA", "<PA", "<PA", "<FA", ">A"]
    tail[2] = Action("FA", segment=RETRANSMIT)  # it had closed twice
    again = compiled([*HANDSHAKE, *tail])
    assert letters(again)[3:] == [">A", "<PA", ">FA", "<PA", "<PA", "<FA", ">A"]


def test_data_after_a_fin_fit_the_window_that_comes_with_it() -> None:
    opening = [Action("S"), Action("SA", True), Action("A")]
    tail = [Action("FA", window=100), Action("PA", True, 300), Action("FA", True)]
    p = compiled([*opening, *tail]).packets
    assert p.window[3] == 300


def test_a_fin_before_data_of_its_side_comes_with_them() -> None:
    tail = [Action("FA", True), Action("PA", True, 5), Action("FA"), Action("A", True)]
    result = compiled([*HANDSHAKE, *tail])
    assert letters(result)[3:] == ["<A", "<FPA", ">FA", "<A"]
    assert result.repairs["early_fin"] == 1


def test_data_from_a_server_without_a_syn_ack_get_one() -> None:
    """The client's first segment comes at 1 ms; before it, the SYN-ACK."""
    actions = [Action("S", **OFFER), Action("A"), Action("PA", payload=9), Action("PA", True, 20)]
    result = compiled(dialogue(100), actions)
    p = result.packets
    assert result.repairs["syn_ack_inserted"] == 1
    assert letters(result)[8:] == [">S", "<SA", ">A", ">PA", "<PA"]
    assert ((p.time_ns[8:] - p.time_ns[8]) // STEP_NS).tolist() == [0, 1, 1, 2, 3]
    assert p.payload_length[8:].tolist() == [0, 0, 0, 9, 20]
    assert int(p.ack[9]) - int(p.seq[8]) == int(p.ack[10]) - int(p.seq[9]) == 1
    assert p.src[9] == p.src[12]


def test_the_first_answer_to_a_syn_is_its_syn_ack() -> None:
    """An acknowledgement before it would be of nothing; one that is reset is of an older one."""
    late = [Action("S"), Action("A", True), Action("S"), Action("SA", True), Action("A")]
    flags = compile_flows(flow_table([late]), seed=1).packets.tcp_flags
    assert flags.tolist() == [SYN, SYN | ACK, SYN, SYN | ACK, ACK]
    challenge = [Action("S"), Action("A", True), Action("R"), *HANDSHAKE]
    flags = compile_flows(flow_table([challenge]), seed=1).packets.tcp_flags
    assert flags.tolist() == [SYN, ACK, RST, SYN, SYN | ACK, ACK]


def test_a_second_fin_of_what_is_acknowledged_is_none() -> None:
    result = compiled([*HANDSHAKE, Action("FA"), Action("A", True), Action("FA")])
    assert letters(result)[3:] == [">FA", "<A", ">A"]


def test_a_client_waits_for_its_syn_ack() -> None:
    """1 ms a step: S at 0, A and PA at 1 and 2, SYN-ACK at 3, data at 4."""
    actions = [Action("S"), Action("A"), Action("PA", payload=9), Action("SA", True)]
    table = flow_table([[*actions, Action("PA", True, 20)]])
    before = table.packets.time_ns.copy()
    result = compile_flows(table, seed=1, payload="zero")
    assert letters(result) == [">S", "<SA", ">A", ">PA", "<PA"]
    start = int(before[0])
    # 1 and 2 ms after the SYN-ACK would be too late: the server goes on at 4 ms
    assert ((result.packets.time_ns - start) / STEP_NS).tolist() == [0, 3, 3.5, 4, 4]
    assert result.packets.payload_length.tolist() == [0, 0, 0, 9, 20]
    assert result.repairs["early_moved"] == 2
    assert np.array_equal(table.packets.time_ns, before)


def test_a_server_waits_for_the_acknowledgement_of_its_syn_ack() -> None:
    """1 ms a step: the client's first ACK, drawn at 4, is at 2, when the server's data begin."""
    actions = [*HANDSHAKE[:2], Action("PA", True, 20), Action("PA", True, 30), Action("A")]
    result = compiled([*actions, Action("PA", payload=9)])
    p = result.packets
    assert letters(result) == [">S", "<SA", ">A", "<PA", "<PA", ">PA"]
    assert ((p.time_ns - p.time_ns[0]) / STEP_NS).tolist() == [0, 1, 2, 2, 3, 5]
    assert p.payload_length.tolist() == [0, 0, 0, 20, 30, 9]
    assert int(p.ack[2]) - int(p.seq[1]) == 1
    assert result.repairs["early_moved"] == 1


def test_a_fin_with_data_fits_the_window() -> None:
    """A window of 100 is full with 100 bytes; the FIN behind them takes one more."""
    opening = [Action("S"), Action("SA", True, window=50), Action("A")]
    exchange = [Action("PA", payload=9), Action("A", True, window=100)]
    p = compiled([*opening, *exchange, Action("FPA", payload=100)]).packets
    assert p.window[[1, 4]].tolist() == [50, 101]


def test_a_connection_that_is_not_idle_needs_no_keep_alive() -> None:
    """The first comes half a ms after the exchange, the second 5 ms after that."""
    exchange = [Action("PA", payload=9), Action("A", True)]
    alive = Action("A", segment=KEEP_ALIVE)
    times_ns = [int(ms * STEP_NS) for ms in (0, 1, 2, 3, 4, 4.5, 9.5)]
    table = flow_table([[*HANDSHAKE, *exchange, alive, alive]], times_ns=[times_ns])
    result = compile_flows(table, seed=1, payload="zero")
    numbers = (result.packets.seq[[5, 6]].astype(np.int64) - int(result.packets.seq[3])) % 2**32
    assert numbers.tolist() == [9, 8]
    assert result.repairs["early_keep_alive"] == 1


def test_the_timestamp_of_a_reset_is_not_echoed() -> None:
    client, server = ({**OFFER, "option_bits": FULL} for _ in range(2))
    stamped = {"option_bits": OPTION_TIMESTAMPS}
    opening = [Action("S", **client), Action("SA", True, **server), Action("A", **stamped)]
    reset = [Action("RA", **stamped), Action("FA", True, **stamped)]
    p = compiled([*opening, *reset]).packets
    assert p.ts_ecr[4] == p.ts_val[2] != p.ts_val[3]


def test_a_repeated_syn_ack_acknowledges_the_syn_alone() -> None:
    actions = [*HANDSHAKE[:2], Action("A"), Action("PA", payload=70), Action("SA", True)]
    p = compiled(actions).packets
    rows = np.flatnonzero(p.tcp_flags & (SYN | ACK) == SYN | ACK)
    assert rows.tolist() == [1, 4]
    assert ((p.ack[rows].astype(np.int64) - int(p.seq[0])) % 2**32).tolist() == [1, 1]


def test_a_retransmission_does_not_span_two_messages() -> None:
    """Its bytes would have to be those of both; it repeats the last segment whole."""
    actions = [*HANDSHAKE, Action("PA", payload=300), Action("PA", True, 50)]
    actions += [Action("PA", payload=100), Action("PA", payload=200, segment=RETRANSMIT)]
    p = compiled(actions).packets
    sent = [int(p.seq[i]) - int(p.seq[3]) for i in (3, 5, 6)]
    assert [number % 2**32 for number in sent] == [0, 300, 300]
    assert p.payload_length[6] == 100


SHORT = {  # protocol, port, ICMP type and code, payload, and the bytes it needs
    "DNS": (UDP, 53, 0, 2, 33),
    "a DNS header alone": (UDP, 53, 0, 12, 12),
    "NTP": (UDP, 123, 0, 1, 48),
    "an NTP request for control": (UDP, 123, 0, 12, 12),
    "DHCP": (UDP, 67, 0, 1, 300),
    "a destination unreachable quotes 28 bytes": (ICMP, 0, 3 << 8, 1, 28),
    "an echo may be as short as it likes": (ICMP, 0, 8 << 8, 1, 1),
    "IGMP": (2, 0, 0, 1, 8),
    "a neighbour solicitation has whole options": (ICMPV6, 0, 135 << 8, 17, 24),
    "a listener report has an address": (ICMPV6, 0, 131 << 8, 1, 16),
}


@pytest.mark.parametrize("name", SHORT)
def test_messages_are_as_long_as_their_protocol_needs(name: str) -> None:
    protocol, port, icmp, payload, expected = SHORT[name]
    version = 6 if protocol == ICMPV6 else 4
    table = flow_table(
        [[Action("", payload=payload, icmp=icmp)]], protocol=protocol, port=port, ip_version=version
    )
    result = compile_flows(table, seed=1)
    assert result.packets.payload_length.tolist() == [expected]
    assert result.repairs["message_filled"] == (payload != expected)


def test_whole_dialogues_are_left_as_they_are() -> None:
    assert not any(compiled(dialogue(100, 2000, 50)).repairs.values())


def stay_or_fill(port: int, *actions: Action) -> tuple[list[int], int]:
    """Return the bytes of the data behind a handshake, and how many were filled."""
    result = compile_flows(flow_table([[*HANDSHAKE, *actions]], port=port), seed=1)
    data = [int(size) for size in result.packets.payload_length if size]
    return data, result.repairs["message_filled"]


def test_the_last_segment_of_a_message_is_as_short_as_it_likes() -> None:
    """A TLS message of 2,897 bytes in segments of 1,448 leaves 1 for the third (RFC 8446 section
    5.1: records need not end with segments)."""
    hello = Action("PA", payload=300)
    message = [Action("A", True, 1448), Action("A", True, 1448), Action("PA", True, 1)]
    assert stay_or_fill(443, hello, *message) == ([300, 1448, 1448, 1], 0)
    acks = [each for part in message for each in (part, Action("A"))]  # they end no message
    assert stay_or_fill(443, hello, *acks) == ([300, 1448, 1448, 1], 0)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_first_segment_of_a_message_has_a_whole_head(place: int) -> None:
    """A TLS record has a head of 5 bytes: none begins with one of 1, whoever spoke before."""
    turns = [Action("PA", False, 300), Action("PA", True, 1000), Action("PA", False, 90)]
    turns[place] = turns[place]._replace(payload=1)
    sizes, filled = stay_or_fill(443, *turns)
    assert filled == 1
    assert sizes[place] >= 5
    others = [turn.payload for turn in turns]
    assert [*sizes[:place], 1, *sizes[place + 1 :]] == others


def test_messages_of_different_flows_do_not_go_on() -> None:
    """The first segment of a flow stands behind data of the same side, but of another flow."""
    first = [*HANDSHAKE, Action("PA", payload=300)]
    table = flow_table([first, [*HANDSHAKE, Action("PA", payload=1)]], port=443)
    result = compile_flows(table, seed=1)
    assert result.repairs["message_filled"] == 1
    assert result.packets.payload_length[3] == 300
    assert result.packets.payload_length[7] >= 5


@pytest.mark.parametrize("kind", [RETRANSMIT, KEEP_ALIVE])
def test_what_comes_again_begins_no_message(kind: int) -> None:
    """The server has spoken since: the client's next data begin with a head, whether it sent
    something again before them or not."""
    again = Action("PA", payload=300 if kind == RETRANSMIT else 1, segment=kind)
    turns = [Action("PA", payload=300), Action("PA", True, 1000), again]
    sizes, filled = stay_or_fill(443, *turns, Action("PA", payload=1))
    assert filled == 1
    assert sizes[:2] == [300, 1000]
    assert sizes[3] >= 5


def test_what_comes_again_ends_no_message() -> None:
    """A copy of what the client said stands within the server's message."""
    again = Action("PA", payload=300, segment=RETRANSMIT)
    turns = [Action("PA", payload=300), Action("A", True, 1448), again, Action("PA", True, 1)]
    assert stay_or_fill(443, *turns) == ([300, 1448, 300, 1], 0)


def test_data_behind_a_gap_begin_with_a_head() -> None:
    """A record of what came before the gap ends there, as nobody saw how it goes on."""
    turns = [Action("PA", payload=300), Action("A", True, 1448)]
    sizes, filled = stay_or_fill(443, *turns, Action("PA", True, 1, segment=AHEAD))
    assert filled == 1
    assert sizes[2] >= 5


def test_every_segment_of_telecontrol_holds_whole_frames() -> None:
    """IEC 60870-5-104 section 5: the test frames that fill it have 6 bytes each."""
    turns = [Action("PA", payload=6), Action("PA", True, 6), Action("PA", True, 13)]
    assert stay_or_fill(2404, *turns, Action("PA", True, 16)) == ([6, 6, 18, 18], 2)


def test_every_segment_of_ssh_is_a_packet() -> None:
    """RFC 4253 section 6: with length, padding and a block of 8 none is shorter than 8 bytes."""
    banners = [Action("PA", False, 21), Action("PA", True, 21)]
    keys = [Action("PA", False, 1400), Action("PA", False, 1), Action("PA", True, 36)]
    sizes, filled = stay_or_fill(22, *banners, *keys)
    assert filled == 1
    assert sizes[3] >= 8
    assert [*sizes[:3], sizes[4]] == [21, 21, 1400, 36]


def test_a_syn_with_an_mss_is_what_it_says() -> None:
    """Hosts that usually offer a scale and 64,240 bytes open one connection with an MSS and 1,500
    alone; its windows, not scaled, stay near that. Behind 64,240 they would look scaled."""
    usual = [open_as(OFFER, {**OFFER, "window": 65_160}) for _ in range(2)]
    small = {"option_bits": OPTION_MSS, "mss": 1460, "window": 1500}
    flow = [Action("S", **small), Action("SA", True, **small)]
    for window in (1500, 1480):
        later = {"window": window}
        flow += [Action("A", **later), Action("PA", payload=100, **later)]
        flow += [Action("PA", True, 1448, **later), Action("A", **later)]
    result = compiled(*usual, flow)
    assert not any(result.repairs.values())
    p = result.packets
    assert p.option_bits[12:].tolist() == [OPTION_MSS] * 2 + [0] * 8
    assert p.window[12:].tolist() == [1500] * 6 + [1480] * 4
    assert p.window_scale[12:].tolist() == [NO_WINDOW_SCALE] * 10


def test_a_syn_without_an_mss_says_little() -> None:
    """The same windows behind a SYN without options: its hosts' usual offer completes it."""
    usual = [open_as(OFFER, {**OFFER, "window": 65_160}) for _ in range(2)]
    later = {"window": 1500}
    flow = [Action("S", **later), Action("SA", True, **later), Action("A", **later)]
    flow += [Action("PA", payload=100, **later), Action("PA", True, 1448, **later)]
    result = compiled(*usual, flow)
    assert result.repairs["opening_completed"] == 1
    assert result.packets.option_bits[12:14].tolist() == [FULL, FULL]
