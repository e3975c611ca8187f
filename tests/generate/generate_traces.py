"""A small real trace for the tests of this room, and what every EncodedTrace must keep."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from torch import nn

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows, read_labels
from netsynth.encode import Codec, EncodeConfig, fit_codec
from netsynth.generate.contract import TraceLayout
from netsynth.model import layout_of
from netsynth.tables import EncodedTrace

TICK_NS = 1000  # records of a step without room left follow each other by a ns or so
SAMPLES = Path(__file__).parents[2] / "sample_pcaps"


@cache
def office() -> tuple[Codec, EncodedTrace]:
    """Codec and one encoded window of the first 2500 packets of the office capture."""
    packets, _ = read_capture(SAMPLES / "office.pcap")
    labels = read_labels(SAMPLES / "office.attacks.csv")
    flows = assemble_flows(packets.take(np.arange(2500)), labels=labels)
    codec = fit_codec([flows], config=EncodeConfig(), seed=0, static=True)
    (trace,) = codec.encode(flows, static=True)
    return codec, trace


def fill_weights(modules: Iterable[nn.Module], *, std: float) -> None:
    """Fill the weights of linear maps with noise, also those whose rows are mixed."""
    for module in modules:
        assert isinstance(module, nn.Linear)
        for name, parameter in module.named_parameters():
            if "weight" in name:
                nn.init.normal_(parameter, std=std)
        assert module.weight.detach().std() > std / 4


def layout() -> TraceLayout:
    """Layout of that trace."""
    return layout_of(office()[0])


def check_trace(trace: EncodedTrace) -> None:
    """Assert what must hold in any window, learned or made."""
    flow_count = len(trace)
    for place, field in enumerate(trace.token_fields):
        column = trace.tokens[:, place]
        assert ((column >= 0) & (column < field.size)).all(), field.name
    for place, field in enumerate(trace.record_fields[:3]):
        column = trace.records[:, place]
        assert ((column >= 0) & (column < field.size)).all(), field.name
    assert (np.diff(trace.start_ns) >= 0).all(), "flows are sorted by start"
    assert (trace.start_ns >= 0).all()
    assert (trace.duration_ns >= 0).all()
    assert (trace.start_ns + trace.duration_ns < trace.window_ns).all()
    assert (trace.totals >= 0).all()
    assert (trace.totals[:, :2].sum(axis=1) >= 1).all()
    _check_series(trace)
    flow = np.repeat(np.arange(flow_count), np.diff(trace.record_offsets))
    reverse = trace.record_fields[0].groups["reverse"][trace.records[:, 0]] == 1
    counts = np.stack([np.bincount(flow[way], minlength=flow_count) for way in (~reverse, reverse)])
    assert (trace.totals[:, :2] == counts.T).all(), "as many records as the totals say"
    same_flow = flow[1:] == flow[:-1]
    assert (np.diff(trace.record_ns)[same_flow] >= 0).all(), "records ascend in time"
    assert (trace.record_bytes >= 0).all()
    _check_steps(trace, flow, reverse)


def _check_series(trace: EncodedTrace) -> None:
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.series_offsets))
    assert (np.diff(trace.series_offsets) >= 1).all(), "each flow is active in some step"
    same = flow[1:] == flow[:-1]
    assert (np.diff(trace.series_step.astype(int))[same] >= 1).all(), "steps ascend"
    assert trace.series_step.min() >= 0
    assert trace.series_step.max() < trace.step_count
    assert (trace.series_values >= 0).all()
    assert (trace.series_values[:, :2].sum(axis=1) >= 1).all(), "idle steps are not stored"
    sums = np.stack([np.bincount(flow, v, len(trace)) for v in trace.series_values.T], axis=1)
    assert (sums == trace.totals).all(), "the series sums to the totals"


def _check_steps(trace: EncodedTrace, flow: np.ndarray, reverse: np.ndarray) -> None:
    """Records fall, in order, into the steps that the series counts them in."""
    step_ns = trace.window_ns / trace.step_count
    packets = trace.series_values[:, :2].sum(axis=1)
    row = np.repeat(np.arange(packets.size), packets)  # of the series, for each record
    assert row.size == trace.record_ns.size
    step = trace.series_step[row]
    early = trace.record_ns < step * step_ns - TICK_NS
    late = trace.record_ns > (step + 1) * step_ns + TICK_NS
    assert not early.any(), f"{early.sum()} records lie before their step"
    assert not late.any(), f"{late.sum()} records lie after their step"
    back = np.bincount(row[reverse], minlength=packets.size)
    assert (back == trace.series_values[:, 1]).all(), "directions in a step are the series'"
