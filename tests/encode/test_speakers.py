"""Whoever always speaks first on a service does so in what is drawn."""

import dataclasses

import numpy as np
import pytest
from encode_flows import office_flows

from netsynth.encode import EncodeConfig, fit_codec
from netsynth.encode.speakers import EITHER, INITIATOR, RESPONDER, fit_speakers, order_speakers
from netsynth.tables import SYN, TCP, UDP, FlowTable


@pytest.fixture(scope="module")
def flows() -> FlowTable:
    return office_flows()


def take(flows: FlowTable, kept: np.ndarray, *, since: int) -> FlowTable:
    """Return flows of two packets from packet `since` on."""
    rows = flows.offsets[:-1][kept] + since
    names = ("initiator", "responder", "initiator_port", "responder_port", "protocol")
    return dataclasses.replace(
        flows,
        packets=flows.packets.take(rows),
        offsets=np.arange(kept.size + 1),
        **{name: getattr(flows, name)[rows] for name in ("reverse", "segment", "ack_class")},
        **{name: getattr(flows, name)[kept] for name in (*names, "ip_version", "label")},
    )


def first_speaker(flows: FlowTable, flow: int) -> bool | None:
    """Whether the responder sends the first data of a flow; None where nobody does."""
    for row in range(flows.offsets[flow], flows.offsets[flow + 1]):
        if flows.packets.payload_length[row]:
            return bool(flows.reverse[row])
    return None


def opened(flows: FlowTable) -> list[int]:
    """TCP connections seen from their SYN on."""
    first = flows.packets.tcp_flags[flows.offsets[:-1]]
    return np.flatnonzero((flows.protocol == TCP) & (first & 18 == SYN)).tolist()


def test_clients_speak_first_in_the_office(flows: FlowTable) -> None:
    """Web, Redis, MQTT and DNS; its SSH clients do not wait for the greeting, either."""
    service = (flows.protocol == TCP).astype(np.int64)
    assert fit_speakers([flows], [service], size=3).tolist() == [INITIATOR, INITIATOR, EITHER]
    turned = dataclasses.replace(flows, reverse=~flows.reverse)
    assert fit_speakers([turned], [service], size=2).tolist() == [RESPONDER, RESPONDER]
    answers = np.flatnonzero((flows.protocol == UDP) & (np.diff(flows.offsets) == 2))
    cut = take(flows, answers, since=1)  # whose questions the window before has
    assert fit_speakers([flows, cut], [service, service[answers]], size=1 + 1)[0] == INITIATOR
    both = fit_speakers([flows, turned], [service, service], size=2)
    assert both.tolist() == [EITHER, EITHER]


def test_the_first_data_of_either_side_change_places(flows: FlowTable) -> None:
    """Told that servers speak first, every connection with data both ways is turned round."""
    service = np.zeros(len(flows), dtype=np.int64)
    ordered = order_speakers(flows, service, np.array([RESPONDER], dtype=np.int8))
    assert np.array_equal(ordered.packets.time_ns, flows.packets.time_ns)
    p = flows.packets
    talking = 0
    for flow in opened(flows):
        rows = slice(flows.offsets[flow], flows.offsets[flow + 1])
        if (flows.reverse[rows] & (p.payload_length[rows] > 0)).any():
            talking += 1
            assert first_speaker(ordered, flow)
        for name in ("payload_length", "src", "tcp_flags"):
            before, after = (getattr(f.packets, name)[rows] for f in (flows, ordered))
            assert np.array_equal(np.sort(before), np.sort(after))
    assert talking > 5
    assert order_speakers(flows, service, np.zeros(1, dtype=np.int8)) is flows


def test_a_codec_keeps_them(flows: FlowTable) -> None:
    codec = fit_codec([flows], config=EncodeConfig(), seed=0)
    assert INITIATOR in codec.speakers.tolist()
    header, arrays = codec.to_parts()
    assert np.array_equal(codec.from_parts(header, arrays).speakers, codec.speakers)
    decoded = codec.decode(codec.encode(flows)[0], rng=np.random.default_rng(0))
    assert np.array_equal(decoded.reverse, flows.reverse)
