"""Durations in trips or in ns, whichever differs less between equal flows."""

import numpy as np
from encode_flows import make_flows

from netsynth.encode.columns import NO_ANSWER, flow_columns
from netsynth.encode.durations import fit_rulers, in_trips, lasting, stretches, trips
from netsynth.steps import REST
from netsynth.tables import ruler_ns

TRIPS = np.array([[1.0, 1.0]])  # of one service, whose durations go by the trip


def test_answer_and_reply_by_hand() -> None:
    """Out at 0, back at 30 and 35, out at 70; another flow is never answered."""
    flows = make_flows(
        [
            {"initiator": 0, "initiator_port": 1, "responder": 1, "responder_port": 80},
            {"initiator": 0, "initiator_port": 2, "responder": 1, "responder_port": 80},
        ],
        [[(0, 0, 5), (30, 1, 5), (35, 1, 5), (70, 0, 5)], [(40, 0, 5), (41, 0, 5)]],
    )
    columns = flow_columns(flows)
    assert columns.answer_ns.tolist() == [30, NO_ANSWER]
    assert columns.reply_ns.tolist() == [40, NO_ANSWER]
    assert trips(columns).tolist() == [70, 0]
    assert stretches(columns, np.zeros(2, dtype=np.int64), TRIPS).tolist() == [1.0, 1.0]


def dialogue(at: int, answer: int, reply: int, rest: int) -> list[tuple[int, int, int]]:
    times = np.cumsum([at, answer, reply, rest])
    return [(int(t), way, 5) for t, way in zip(times, (0, 1, 0, 1), strict=True)]


def test_the_steadier_unit_is_chosen() -> None:
    """Port 80 lasts four trips, whatever they are; port 22 lasts a second, whatever the trip."""
    rng = np.random.default_rng(0)
    rows, packets = [], []
    for index in range(60):
        port = 80 if index % 2 else 22
        trip = int(rng.integers(1_000, 100_000))
        rest = 3 * trip if port == 80 else 1_000_000_000 - trip
        rows.append(
            {"initiator": 0, "initiator_port": 1000 + index, "responder": 1, "responder_port": port}
        )
        packets.append(dialogue(index * 2_000_000_000, trip // 2, trip - trip // 2, rest))
    flows = make_flows(rows, packets)
    columns = flow_columns(flows)
    service = (columns.service_port == 80).astype(np.int64)
    keys = np.zeros((len(flows), 1), dtype=np.int64)
    rulers = fit_rulers([columns], [service], [keys], size=3)
    assert rulers[:, 0].tolist() == [0.0, 1.0, 1.0]  # the third has no flows: trips
    assert (in_trips(columns, service, rulers) == (columns.service_port == 80)).all()
    assert np.allclose(stretches(columns, service, rulers)[service == 1], 4.0, rtol=1e-3)


def test_half_of_what_a_trip_adds_is_told_by_its_root() -> None:
    """Flows last 10 ms times the root of their trip in units of 1 ms."""
    rng = np.random.default_rng(0)
    rows, packets = [], []
    for index in range(80):
        trip = int(rng.integers(100_000, 9_000_000))
        rest = int(10_000_000 * np.sqrt(trip / 1e6)) - trip
        rows.append({"initiator_port": 1000 + index})
        packets.append(dialogue(index * 1_000_000_000, trip // 2, trip - trip // 2, max(rest, 0)))
    columns = flow_columns(make_flows(rows, packets))
    service = np.zeros(80, dtype=np.int64)
    rulers = fit_rulers([columns], [service], [np.zeros((80, 1), dtype=np.int64)], size=1)
    assert rulers[0].tolist() == [0.5, np.median(trips(columns))]
    expected = 10 / np.sqrt(rulers[0, 1] / 1e6)
    short = trips(columns) < 5e6
    assert np.allclose(stretches(columns, service, rulers)[short], expected, rtol=1e-3)


def test_a_ruler_leaves_the_median_trip_as_it_is() -> None:
    ruler = np.array([[1.0, 9.0], [0.5, 9.0], [0.0, 9.0], [0.5, 9.0]])
    found = ruler_ns(np.array([4.0, 4.0, 4.0, 0.0]), ruler)
    assert found.tolist() == [4.0, 6.0, 9.0, 0.0]


def test_a_trip_that_the_clock_cannot_see_is_no_unit() -> None:
    """Out, back and out again in one tick, then a second of silence: it lasts a second."""
    row = {"initiator": 0, "initiator_port": 1, "responder": 1, "responder_port": 80}
    flows = make_flows([row], [[(0, 0, 5), (0, 1, 5), (0, 0, 5), (1_000_000_000, 0, 5)]])
    columns = flow_columns(flows)
    service = np.zeros(1, dtype=np.int64)
    assert stretches(columns, service, TRIPS).tolist() == [1.0]
    assert not in_trips(columns, service, TRIPS).any()


def test_flows_that_last_are_told_by_the_rest_they_leave() -> None:
    """In a window of 1000 from 5000 on, packets every 100 from 5010 on, in turn: to the end; half
    of it; to the end, but three of them alone; to the end from 5970 on; and every 300."""
    times = (
        range(5010, 6000, 100), range(5010, 5500, 100), (5010, 5400, 5900), range(5970, 6000, 5),
        range(5010, 6000, 300),
    )  # fmt: skip
    rows = [{"initiator_port": 1000 + i} for i in range(len(times))]
    flows = make_flows(rows, [[(at, 0, 5) for at in own] for own in times])
    found = lasting(flow_columns(flows), flows, first_ns=5000, length_ns=1000)
    by_port = dict(zip(flows.initiator_port.tolist(), found.tolist(), strict=True))
    assert by_port[1001] == by_port[1002] == by_port[1003] == -1
    for port, left in ((1000, 90 / 990), (1004, 90 / 990)):
        assert REST[by_port[port]] <= left < REST[by_port[port] + 1]
