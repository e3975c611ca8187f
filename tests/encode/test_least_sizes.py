"""No datagram is smaller than any that its service was seen to send."""

import numpy as np
import pytest
from encode_flows import office_flows

from netsynth.encode import EncodeConfig, fit_codec
from netsynth.encode.least_sizes import fit_least_sizes, raise_sizes
from netsynth.tables import TCP, FlowTable


@pytest.fixture(scope="module")
def flows() -> FlowTable:
    return office_flows()


def test_least_sizes_are_those_seen_of_service_and_direction(flows: FlowTable) -> None:
    service = (flows.protocol == TCP).astype(np.int64) + 1
    least = fit_least_sizes([flows], [service], size=3)
    p = flows.packets
    wanted = (p.protocol != TCP) & (p.payload_length > 0)
    asked = p.payload_length[wanted & ~flows.reverse].min()
    answered = p.payload_length[wanted & flows.reverse].min()
    assert least.tolist() == [[0, 0], [asked, answered], [0, 0]]


def test_what_is_too_small_takes_the_size_before_it_or_that_of_its_like() -> None:
    """Service 1 asks with 20 bytes or more and answers with 40 or more; 0 has no limit."""
    raised = raise_sizes(
        np.array([30, 50, 1, 3, 7, 0, 5, 2]),
        flow=np.array([0, 0, 0, 0, 1, 1, 2, 3]),
        service=np.array([1, 1, 1, 1, 1, 1, 0, 2]),
        reverse=np.array([0, 1, 0, 1, 0, 0, 0, 1], dtype=np.bool_),
        least=np.array([[0, 0], [20, 40], [9, 11]]),
        rng=np.random.default_rng(0),
    )
    assert raised.tolist() == [30, 50, 30, 50, 30, 0, 5, 11]


def test_nothing_changes_where_nothing_is_too_small() -> None:
    sizes = np.array([20, 0, 60])
    raised = raise_sizes(
        sizes,
        flow=np.arange(3),
        service=np.zeros(3, dtype=np.int64),
        reverse=np.zeros(3, dtype=np.bool_),
        least=np.array([[20, 40]]),
        rng=np.random.default_rng(0),
    )
    assert raised is sizes


def test_a_decoded_window_keeps_to_the_limit(flows: FlowTable) -> None:
    codec = fit_codec([flows], config=EncodeConfig(), seed=0)
    trace = codec.encode(flows)[0]
    p = flows.packets
    rows = np.flatnonzero((p.protocol != TCP) & (p.payload_length > 0))
    assert rows.size
    trace.record_bytes[rows] = 1
    decoded = codec.decode(trace, rng=np.random.default_rng(0)).packets
    least = p.payload_length[rows].min()
    assert (decoded.payload_length[decoded.protocol != TCP] >= least).all()
