"""encode, then decode, a real cut of a capture: what is exact, and what is lost and how much."""

import numpy as np
import pytest
from encode_flows import make_flows, office_flows

from netsynth.encode import (
    AddressMap,
    Codec,
    EncodeConfig,
    PortAllocator,
    fit_codec,
    port_allocator,
)
from netsynth.encode.classes import ANY_PORT
from netsynth.encode.columns import flow_columns
from netsynth.encode.lanes import fill_forward
from netsynth.encode.port_paths import BLOCK
from netsynth.encode.records import before_in_direction, kind_rows
from netsynth.errors import CaptureError, ConfigError, ModelError
from netsynth.numbers import Array
from netsynth.tables import (
    ACK,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_TIMESTAMPS,
    PACKET_COLUMNS,
    SYN,
    TCP,
    EncodedTrace,
    FlowTable,
)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return fit_codec([office_flows()], config=EncodeConfig(), seed=0)


@pytest.fixture(scope="module")
def trace(codec: Codec) -> EncodedTrace:
    (window,) = codec.encode(office_flows())
    return window


@pytest.fixture(scope="module")
def back(codec: Codec, trace: EncodedTrace) -> FlowTable:
    return codec.decode(trace, rng=np.random.default_rng(0))


def share_alike(a: Array, b: Array) -> float:
    return float((a == b).mean())


def test_the_trace_holds_what_the_flows_hold(trace: EncodedTrace) -> None:
    flows = office_flows()
    assert len(trace) == len(flows)
    assert trace.totals[:, :2].sum() == len(flows.packets) == 4000
    assert (trace.start_ns == flows.start_ns - flows.packets.time_ns.min()).all()
    assert (trace.duration_ns == flows.end_ns - flows.start_ns).all()
    assert (trace.record_bytes == flows.packets.payload_length).all()
    for place, field in enumerate(trace.token_fields):
        column = trace.tokens[:, place]
        assert column.min() >= 0, field.name
        assert column.max() < field.size, field.name
    for place, field in enumerate(trace.record_fields[:3]):
        assert trace.records[:, place].max() < field.size, field.name


def test_flows_are_the_same_but_for_drawn_ports(
    codec: Codec, trace: EncodedTrace, back: FlowTable
) -> None:
    flows = office_flows()
    assert len(back) == len(flows)
    assert (back.offsets == flows.offsets).all()
    assert (back.protocol == flows.protocol).all()
    service = [f.name for f in trace.token_fields].index("service")
    has_token = codec.services.rows[trace.tokens[:, service], 2] != ANY_PORT
    assert has_token.mean() > 0.5
    ours, theirs = back.responder_port, flows.responder_port
    assert (ours[has_token] == theirs[has_token]).all()
    tcp = ~has_token & (flows.protocol == TCP)
    known = codec.services.rows[codec.services.rows[:, 0] == TCP, 2]
    assert 22 in known
    assert not np.isin(ours[tcp], known).any()  # ports of a scan are no service's
    ours, theirs = np.array(back.label_names), np.array(flows.label_names)
    assert (ours[back.label] == theirs[flows.label]).all()
    assert np.unique(flows.label).size > 1
    for side in ("initiator", "responder"):
        ours = flows.packets.addresses[getattr(flows, side)]
        assert (back.packets.addresses[getattr(back, side)] == ours).all()
    ours, theirs = back.initiator_port, flows.initiator_port
    named = np.isin(theirs, codec.source_ports.named.rows[:, 0])  # a scanner keeps its port
    assert named.any()
    assert (ours[named] == theirs[named]).all()
    assert (ours[~named] >= 1024).all()


def test_ports_are_drawn_not_replayed(codec: Codec, trace: EncodedTrace) -> None:
    """A run begins at one of BLOCK / 2 ports, so one in 64 hits the real one by chance."""
    theirs = office_flows().initiator_port
    named = np.isin(theirs, codec.source_ports.named.rows[:, 0])
    shares = []
    for seed in range(8):
        ours = codec.decode(trace, rng=np.random.default_rng(seed)).initiator_port
        shares.append(share_alike(ours[~named], theirs[~named]))
    assert np.mean(shares) < 2 * 2 / BLOCK


@pytest.mark.parametrize(
    "name", ["ttl", "tos", "tcp_flags", "payload_length", "ip_version", "vlan", "mss", "protocol"]
)
def test_packet_columns_that_are_exact(back: FlowTable, name: str) -> None:
    assert (getattr(back.packets, name) == getattr(office_flows().packets, name)).all()


def test_directions_segments_and_acknowledgements_are_exact(back: FlowTable) -> None:
    flows = office_flows()
    for name in ("reverse", "segment", "ack_class"):
        assert (getattr(back, name) == getattr(flows, name)).all(), name


def test_times_are_exact_but_for_the_clock(back: FlowTable) -> None:
    """Times count from 0, in the capture's own resolution."""
    flows = office_flows()
    lost = flows.packets.time_ns - flows.packets.time_ns.min() - back.packets.time_ns
    assert lost.min() >= 0
    assert lost.max() < 1000  # at most a tick


def test_options_are_exact_but_for_the_blocks_themselves(back: FlowTable) -> None:
    """Acknowledgements with SACK are kinds of their own, so the bit comes back; which blocks they
    tell follows from what was sent. SYNs of this capture are not padded."""
    flows = office_flows()
    is_syn = (flows.packets.tcp_flags & SYN) > 0
    assert is_syn.any()
    for name in ("option_bits", "mss", "window_scale"):
        ours, theirs = getattr(back.packets, name), getattr(flows.packets, name)
        assert (ours[is_syn] == theirs[is_syn]).all(), name
    assert share_alike(back.packets.option_bits, flows.packets.option_bits) > 0.99
    told = flows.packets.option_bits & OPTION_SACK
    assert np.count_nonzero(told) > 20
    assert (back.packets.option_bits & OPTION_SACK == told).all()


@pytest.mark.parametrize(("offered", "stamped"), [(True, True), (False, False)])
def test_timestamps_are_sent_where_both_sides_offered_them(offered: bool, stamped: bool) -> None:
    """RFC 7323 section 3.2: a SYN-ACK without the option means none in the segments after it."""
    packets = [[(i * 100, 0, 0), (i * 100 + 1, 1, 0), (i * 100 + 2, 0, 9)] for i in range(20)]
    rows = [{"protocol": TCP, "initiator_port": 50_000 + i} for i in range(20)]
    flows = make_flows(rows, packets)
    flows.packets.tcp_flags[:] = [SYN, SYN | ACK, ACK] * 20
    flows.packets.option_bits[:] = [
        OPTION_MSS | OPTION_TIMESTAMPS,
        OPTION_MSS | (OPTION_TIMESTAMPS if offered else 0),
        OPTION_TIMESTAMPS if stamped else 0,
    ] * 20
    codec = fit_codec([flows], config=EncodeConfig(), seed=0)
    (window,) = codec.encode(flows)
    made = codec.decode(window, rng=np.random.default_rng(0)).packets.option_bits
    assert (made == flows.packets.option_bits).all()


def test_windows_of_tcp_are_kept_within_a_few_percent(back: FlowTable) -> None:
    """Frequent windows are exact, the others the middle of their bin."""
    flows = office_flows()
    tcp = flows.packets.protocol == TCP
    ours = back.packets.window[tcp].astype(float)
    theirs = flows.packets.window[tcp].astype(float)
    assert share_alike(ours, theirs) > 0.5
    error = np.abs(ours - theirs) / np.maximum(theirs, 1)
    assert np.median(error) == 0
    assert np.quantile(error, 0.95) < 0.1
    assert not back.packets.window[~tcp].any()


def test_columns_that_follow_by_rule_are_left_to_the_compiler(back: FlowTable) -> None:
    for name in ("seq", "ack", "ip_id", "ip_length", "wire_length", "checksums"):
        assert not getattr(back.packets, name).any(), name
    assert set(PACKET_COLUMNS) >= {"seq", "ack"}


def test_lengths_are_kept_as_tokens_too(codec: Codec, trace: EncodedTrace) -> None:
    """Generators see the token of a length; most are atoms, the others bins a few bytes wide."""
    tokens = trace.records[:, 1].astype(np.int64)
    number = codec.records.length
    low, high = number.low[tokens], number.high[tokens]
    assert (low <= trace.record_bytes).all()
    assert (trace.record_bytes <= high).all()
    assert (tokens < number.atoms.size).mean() > 0.8
    assert ((high - low) <= 0.6 * np.maximum(low, 2)).all()


def test_totals_are_kept_as_tokens_too(trace: EncodedTrace) -> None:
    names = [f.name for f in trace.token_fields]
    for place, name in enumerate(("packets_forward", "packets_reverse")):
        number = trace.token_fields[names.index(name)].number
        assert number is not None
        tokens = trace.tokens[:, names.index(name)].astype(np.int64)
        small = trace.totals[:, place] <= 32
        assert small.mean() > 0.8
        middle = number.decode(tokens, np.full(tokens.size, 0.5))
        assert (middle[small] == trace.totals[small, place]).all()
        large = np.abs(middle / np.maximum(trace.totals[:, place], 1) - 1)[~small]
        assert (large < 0.6).all()


def test_even_timestamps_keep_steps_and_order(codec: Codec, trace: EncodedTrace) -> None:
    """eq: k packets of a step lie at (i + 1/2) / k of it; sp: its first and last stay."""
    step_ns = trace.window_ns / trace.step_count
    exact = codec.decode(trace, rng=np.random.default_rng(0)).packets.time_ns
    step = (exact / step_ns).astype(int)
    for kind in ("eq", "sp"):
        made = codec.decode(trace, rng=np.random.default_rng(0), timestamps=kind).packets.time_ns
        assert (made >= step * step_ns - 1000).all()
        assert (made < (step + 1) * step_ns).all()
        assert (made != exact).any()
        inner = np.delete(np.diff(made), trace.record_offsets[1:-1] - 1)
        assert inner.min() >= 0
    sp = codec.decode(trace, rng=np.random.default_rng(0), timestamps="sp").packets.time_ns
    first = trace.record_offsets[:-1]
    assert (np.abs(sp[first] - exact[first]) <= 1000).all()
    with pytest.raises(ConfigError, match="timestamps is 'now'; choose one of ml, sp, eq"):
        codec.decode(trace, rng=np.random.default_rng(0), timestamps="now")


def test_even_timestamps_worked_out_by_hand() -> None:
    """One step of 1000 ns a window of 20; packets at 0, 100 and 900 us of step 0."""
    times = [[(0, 0, 0), (100_000, 0, 0), (900_000, 0, 0)]]
    times += [[(1_000_000 * i, 0, 0), (19_999_999, 0, 0)] for i in range(1, 20)]
    flows = make_flows([{"initiator_port": 50000 + i} for i in range(20)], times)
    config = EncodeConfig()
    codec = fit_codec([flows], config=EncodeConfig(series=type(config.series)(step_count=20)),
                      seed=0)  # fmt: skip
    (window,) = codec.encode(flows)
    rng = np.random.default_rng(0)
    eq = codec.decode(window, rng=rng, timestamps="eq").packets.time_ns[:3]
    assert eq.tolist() == [166_666, 500_000, 833_333]
    sp = codec.decode(window, rng=rng, timestamps="sp").packets.time_ns[:3]
    assert sp.tolist() == [0, 450_000, 900_000]


def test_addresses_are_mapped_on_request(codec: Codec, trace: EncodedTrace) -> None:
    flows = office_flows()
    mapping = AddressMap(5, flows.packets.addresses)
    back = codec.decode(trace, rng=np.random.default_rng(0), addresses=mapping)
    ours = back.packets.addresses[back.initiator]
    assert (ours == mapping.map(flows.packets.addresses[flows.initiator])).all()


def test_same_random_source_same_flows(codec: Codec, trace: EncodedTrace) -> None:
    made = [
        codec.decode(trace, rng=np.random.default_rng(s), ports=PortAllocator(codec.source_ports))
        for s in (1, 1, 2)
    ]
    ports = [m.initiator_port.tolist() for m in made]
    assert ports[0] == ports[1] != ports[2]


def test_the_codec_outlives_the_model_file(codec: Codec, trace: EncodedTrace) -> None:
    header, arrays = codec.to_parts()
    again = Codec.from_parts(header, arrays)
    (window,) = again.encode(office_flows())
    assert (window.tokens == trace.tokens).all()
    assert (window.records == trace.records).all()
    del arrays["services.rows"]
    with pytest.raises(ModelError, match="codec is malformed"):
        Codec.from_parts(header, arrays)


def test_too_few_flows_are_refused() -> None:
    few = make_flows([{} for _ in range(19)], [[(i, 0, 1)] for i in range(19)])
    with pytest.raises(CaptureError, match="19 flows are too few to learn from"):
        fit_codec([few], config=EncodeConfig(), seed=0)


def test_a_scan_keeps_all_its_flows() -> None:
    """Each of 300 ports tried once from one port: none may be lost to another's 5-tuple."""
    ports = np.random.default_rng(0).permutation(np.arange(1, 1025))[:300]
    rows = [{"protocol": TCP, "initiator_port": 62_420, "responder_port": int(p)} for p in ports]
    rows += [{"initiator": 2, "initiator_port": 50_000 + i} for i in range(40)]
    flows = make_flows(rows, [[(i * 10, 0, 0), (i * 10 + 1, 1, 0)] for i in range(340)])
    codec = fit_codec([flows], config=EncodeConfig(), seed=0)
    (window,) = codec.encode(flows)
    for seed in range(3):
        back = codec.decode(window, rng=np.random.default_rng(seed))
        assert len(back) == 340
        made = back.responder_port[:300]
        assert np.unique(made).size == 300
        assert (back.initiator_port[:300] == 62_420).all()
        assert np.median(made) == pytest.approx(512, rel=0.2)


def test_flow_columns_worked_out_by_hand() -> None:
    """Two packets out (10, 20 bytes) and one back (5) at 100, 130 and 170 ns."""
    flows = make_flows([{}], [[(100, 0, 10), (130, 1, 5), (170, 0, 20)]])
    columns = flow_columns(flows)
    assert columns.totals.tolist() == [[2, 1, 30, 5]]
    assert columns.start_ns.tolist() == [100]
    assert columns.duration_ns.tolist() == [70]
    assert columns.answer_ns.tolist() == [30]
    assert columns.service_port.tolist() == [80]


def test_the_value_before_is_of_the_same_flow_and_direction() -> None:
    flows = make_flows([{}, {}], [[(0, 0, 0), (1, 1, 0), (2, 0, 0)], [(3, 0, 0), (4, 0, 0)]])
    before = before_in_direction(flows, np.array([5, 6, 7, 8, 9]))
    assert before.tolist() == [-1, -1, 5, -1, 8]


def test_what_is_not_known_is_what_the_lane_had_last() -> None:
    lanes = np.array([0, 1, 0, 1, 0, 2])
    values, known = np.array([4, 0, 9, 7, 0, 0]), np.array([1, 0, 0, 1, 0, 0], dtype=bool)
    assert fill_forward(lanes, values, known).tolist() == [4, 0, 4, 7, 4, 0]


def test_kinds_of_packets_that_closed_their_window_are_known(codec: Codec) -> None:
    flows = office_flows()
    kind = codec.records.kinds.encode(kind_rows(flows, flow_columns(flows)))
    closed = {int(k) for k in kind[flows.packets.window == 0]}
    assert set(np.flatnonzero(codec.records.closes).tolist()) == closed
    assert 0 < len(closed) < codec.records.closes.size


def test_flows_with_data_alone_give_way_to_services(
    codec: Codec, trace: EncodedTrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all ports from 1024 on but those that 8 divides were some service's."""
    next_own = np.arange(65_536)
    next_own[1024:65_528] = -(-next_own[1024:65_528] // 8) * 8
    monkeypatch.setattr(port_allocator, "own_ports", lambda: next_own)
    decoded = codec.decode(trace, rng=np.random.default_rng(0))
    size = np.add.reduceat(decoded.packets.payload_length, decoded.offsets[:-1])
    names = [f.name for f in trace.token_fields]
    is_free = codec.source_ports.are_free(trace.tokens[:, names.index("initiator_port")])
    assert len(decoded) == len(trace)
    chosen = is_free & (decoded.initiator_port >= 1024)
    odd = decoded.initiator_port % 8 > 0
    assert not odd[chosen & (size > 0)].any()
    assert odd[chosen & (size == 0)].any()
