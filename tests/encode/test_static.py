"""The static view: bits, ports seen and counts come back exactly, other numbers to 1e-6."""

import dataclasses

import numpy as np
import pytest
from encode_flows import make_flows, office_flows, v4
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.encode import Codec, EncodeConfig, SeriesConfig, fit_codec, static_tokens
from netsynth.encode.hosts import RARE_V4, from_bits
from netsynth.encode.port_vectors import EPHEMERAL
from netsynth.encode.scales import NumberScale, fit_number_scale
from netsynth.encode.series import SparseSeries
from netsynth.encode.static import StaticColumns, series_conditions
from netsynth.errors import ConfigError, TableError
from netsynth.numbers import Array
from netsynth.tables import EncodedTrace, FlowTable

COUNTS = ("packets_forward", "packets_reverse", "bytes_forward", "bytes_reverse", "active_steps")


@pytest.fixture(scope="module")
def codec() -> Codec:
    return fit_codec([office_flows()], config=EncodeConfig(), seed=0, static=True)


@pytest.fixture(scope="module")
def trace(codec: Codec) -> EncodedTrace:
    (window,) = codec.encode(office_flows(), static=True)
    return window


@pytest.fixture(scope="module")
def decoded(codec: Codec, trace: EncodedTrace) -> StaticColumns:
    assert codec.static is not None
    return codec.static.decode(trace.static)


def column(trace: EncodedTrace, name: str) -> Array:
    (span,) = (s for s in trace.spans if s.name == name)
    return trace.static[:, span.start : span.stop]


def test_spans_name_all_columns_once(trace: EncodedTrace) -> None:
    kinds = {span.name: (span.stop - span.start, span.kind) for span in trace.spans}
    assert kinds["src_ip"] == kinds["dst_ip"] == (32, "bits")
    for name in ("protocol", "initiator_port", "responder_port"):
        assert kinds[name] == (8, "vector")
    assert sum(kind == (1, "number") for kind in kinds.values()) == 11
    assert [span.start for span in trace.spans[1:]] == [span.stop for span in trace.spans[:-1]]
    assert trace.spans[0].start == 0
    assert trace.static.shape == (len(office_flows()), trace.spans[-1].stop)
    assert trace.static.dtype == np.float32
    assert np.abs(trace.static).max() <= 1


def test_addresses_come_back_bit_by_bit(trace: EncodedTrace, decoded: StaticColumns) -> None:
    flows = office_flows()
    assert (decoded.initiator == flows.packets.addresses[flows.initiator]).all()
    assert (decoded.responder == flows.packets.addresses[flows.responder]).all()
    # 10.77.x.y is 00001010 01001101 ..., most significant bit first
    first = flows.packets.addresses[flows.initiator[0], 12:]
    spelt = "".join(f"{byte:08b}" for byte in first)
    assert column(trace, "src_ip")[0].astype(int).tolist() == [int(bit) for bit in spelt]


def test_ports_and_protocols_seen_come_back(codec: Codec, decoded: StaticColumns) -> None:
    flows = office_flows()
    assert codec.static is not None
    assert (decoded.protocol == flows.protocol).all()
    assert (decoded.service_port == flows.responder_port).all()
    kept = decoded.initiator_port != EPHEMERAL
    assert kept.any()
    assert not kept.all()
    assert (decoded.initiator_port[kept] == flows.initiator_port[kept]).all()
    assert (flows.initiator_port[~kept] >= 1024).all()


def test_counts_come_back_exactly(trace: EncodedTrace, decoded: StaticColumns) -> None:
    for place, name in enumerate(COUNTS[:4]):
        assert (decoded.numbers[name] == trace.totals[:, place]).all(), name
    assert (decoded.numbers["active_steps"] == np.diff(trace.series_offsets)).all()


def test_times_lose_what_float32_loses(trace: EncodedTrace, decoded: StaticColumns) -> None:
    """Durations to 1e-6 of themselves (a ms to a ns), starts to 1e-7 of the window."""
    lost = np.abs(decoded.numbers["duration_ns"] - trace.duration_ns)
    assert (lost <= 1 + 1e-6 * trace.duration_ns).all()
    assert lost.max() > 0  # it is not exact, and docs say so
    lost = np.abs(decoded.numbers["start_ns"] - trace.start_ns)
    assert lost.max() <= 1e-7 * trace.window_ns


def test_conditions_of_a_flow_worked_out_by_hand() -> None:
    """Steps 3, 5 and 11 with 4, 1 and 1 packets; then one step with 2 + 3 packets."""
    series = SparseSeries(
        offsets=np.array([0, 3, 4]),
        step=np.array([3, 5, 11, 7], dtype=np.int32),
        values=np.array([[4, 0, 9, 0], [0, 1, 0, 5], [1, 0, 0, 0], [2, 3, 1, 1]]),
        period=np.zeros((4, 2), dtype=np.float32),
    )
    made = series_conditions(series)
    assert made["active_steps"].tolist() == [3, 1]
    assert made["rate_max"].tolist() == [4, 5]
    assert made["rate_mean"].tolist() == [2, 5]
    # deviations 2, -1, -1: mean square (4 + 1 + 1) / 3
    assert made["rate_std"].tolist() == [pytest.approx(2**0.5), 0]
    assert made["interval_mean"].tolist() == [4, 0]  # (11 - 3) / 2


def test_labels_are_one_of_several() -> None:
    rows = [{"label": i % 2, "initiator_port": 40000 + i} for i in range(30)]
    flows = make_flows(rows, [[(i * 1000, 0, 5)] for i in range(30)])
    codec = fit_codec([flows], config=EncodeConfig(), seed=0, static=True)
    (window,) = codec.encode(flows, static=True)
    assert column(window, "label").tolist() == [[1, 0], [0, 1]] * 15
    assert window.spans[-1].kind == "choice"
    assert codec.static is not None
    assert codec.static.decode(window.static).label.tolist() == [0, 1] * 15


def v6_flows() -> FlowTable:
    """Thirty flows, some between 2001:db8::1 and 2001:db8::2, some between IPv4 hosts."""
    v6 = np.zeros((2, 16), dtype=np.uint8)
    v6[:, :4] = [0x20, 0x01, 0x0D, 0xB8]
    v6[:, 15] = [1, 2]
    addresses = np.concatenate([v4("10.0.0.1", "10.0.0.2"), v6])
    rows = [{"initiator": 2 * (i % 2), "responder": 1 + 2 * (i % 2)} for i in range(30)]
    flows = make_flows(rows, [[(i * 1000, 0, 5)] for i in range(30)], addresses=addresses)
    version = np.where(flows.initiator > 1, 6, 4).astype(np.uint8)
    flows.packets.ip_version[:] = version
    return dataclasses.replace(flows, ip_version=version)


def test_ipv6_takes_128_bits_and_ipv4_stays_ipv4_despite_a_few_wrong_ones() -> None:
    flows = v6_flows()
    codec = fit_codec([flows], config=EncodeConfig(), seed=0, static=True)
    (window,) = codec.encode(flows, static=True)
    assert codec.static is not None
    src = column(window, "src_ip")
    assert src.shape[1] == 128
    assert (codec.static.decode(window.static).initiator[1] == flows.packets.addresses[2]).all()
    static = window.static.copy()
    static[0, [3, 50, 90]] = 1 - static[0, [3, 50, 90]]
    back = codec.static.decode(static)
    assert (back.initiator[0] == flows.packets.addresses[0]).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=300))
def test_a_scale_keeps_counts_exactly_in_float32(values: list[int]) -> None:
    scale = fit_number_scale(np.array(values), logarithmic=True)
    images = scale.encode(np.array(values)).astype(np.float32)
    assert np.abs(images).max() <= 1
    assert np.round(scale.decode(images)).astype(int).tolist() == values


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=200), st.booleans())
def test_a_scale_keeps_order_and_stays_within_what_was_seen(
    values: list[float], logarithmic: bool
) -> None:
    scale = fit_number_scale(np.array(values), logarithmic=logarithmic)
    ordered = np.unique(values)
    assert (np.diff(scale.encode(ordered)) >= 0).all()
    drawn = scale.decode(np.linspace(-3, 3, 50))
    slack = 1e-9 * (1 + max(values))
    assert drawn.min() >= min(values) - slack
    assert drawn.max() <= max(values) + slack


def test_a_scale_worked_out_by_hand() -> None:
    """0..64 evenly: quantile and share agree, so the image is 2 x / 64 - 1."""
    scale = fit_number_scale(np.arange(65.0), logarithmic=False)
    assert scale.encode(np.array([0, 16, 32, 64, 99])).tolist() == pytest.approx(
        [-1, -0.5, 0, 1, 1]
    )
    back = NumberScale.from_arrays("s", scale.to_arrays("s"))
    assert back.decode(np.array([-1.0, -0.5, 1.0])).tolist() == pytest.approx([0, 16, 64])


def test_the_tokens_that_follow_are_those_of_the_flows(codec: Codec, trace: EncodedTrace) -> None:
    """From exact numbers, all columns but source ports agree; habits are not in the view."""
    assert codec.static is not None
    columns = codec.static.decode(trace.static)
    columns.numbers["start_ns"][:] = trace.start_ns
    tokens = static_tokens(codec, columns)
    names = [f.name for f in trace.token_fields]
    assert {"label", "service", "initiator", "responder", "packets_forward"} <= set(tokens)
    for name in tokens.keys() - {"initiator_port"}:
        assert (tokens[name] == trace.tokens[:, names.index(name)]).all(), name
    assert set(tokens["initiator_port"]) <= set(range(codec.source_ports.size))
    assert (tokens["initiator_port"] == codec.source_ports.start_token).any()


def test_hosts_that_were_never_seen_are_rare_and_keep_their_bits(codec: Codec) -> None:
    assert codec.static is not None
    (window,) = codec.encode(office_flows(), static=True)
    static = window.static.copy()
    static[:, :32] = [int(bit) for bit in f"{203 << 24 | 113 << 8 | 9:032b}"]
    columns = codec.static.decode(static)
    assert (columns.initiator[:, 12:] == [203, 0, 113, 9]).all()
    columns.numbers["start_ns"].sort()
    assert (static_tokens(codec, columns)["initiator"] == RARE_V4).all()


def test_what_does_not_fit_is_refused(codec: Codec, trace: EncodedTrace) -> None:
    assert codec.static is not None
    with pytest.raises(TableError, match=r"but must be \[F, 104\]"):
        codec.static.decode(trace.static[:, 1:])
    broken = trace.static.copy()
    broken[7, 60] = np.nan
    with pytest.raises(TableError, match="no finite number in row 7"):
        codec.static.decode(broken)
    columns = codec.static.decode(trace.static)
    columns.numbers["start_ns"][:] = columns.numbers["start_ns"][::-1]
    with pytest.raises(TableError, match="sort the flows by start: row 1 is"):
        static_tokens(codec, columns)


def test_the_view_is_made_only_when_asked_for(codec: Codec) -> None:
    (plain,) = codec.encode(office_flows())
    assert plain.static.shape == (len(plain), 0)
    assert plain.spans == ()
    without = fit_codec([office_flows()], config=EncodeConfig(), seed=0)
    with pytest.raises(ConfigError, match="fit it with static=True"):
        without.encode(office_flows(), static=True)


def test_the_view_outlives_the_model_file(codec: Codec, trace: EncodedTrace) -> None:
    header, arrays = codec.to_parts()
    (again,) = Codec.from_parts(header, arrays).encode(office_flows(), static=True)
    assert (again.static == trace.static).all()
    assert again.spans == trace.spans


def test_windows_have_views_of_their_own() -> None:
    config = EncodeConfig(series=SeriesConfig(window_ns=2_000_000_000))
    codec = fit_codec([office_flows()], config=config, seed=0, static=True)
    windows = codec.encode(office_flows(), static=True)
    assert len(windows) == 5
    assert codec.static is not None
    for window in windows:
        numbers = codec.static.decode(window.static).numbers
        assert (numbers["packets_forward"] == window.totals[:, 0]).all()
        assert (numbers["start_ns"] < window.window_ns).all()
        bits = from_bits(window.initiator_bits)
        assert (codec.static.decode(window.static).initiator == bits).all()
