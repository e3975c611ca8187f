"""Statistical measures: which addresses, ports, sizes, TTLs, windows and flags occur how often."""

from __future__ import annotations

from typing import Any

import numpy as np

from netsynth.numbers import Array, IntArray
from netsynth.report.fidelity import Figure
from netsynth.report.measure import distance_figures
from netsynth.report.pair import Pair
from netsynth.report.samples import Measure, Sample
from netsynth.report.trace import Trace, flow_sums
from netsynth.tables import TCP

MEASURES = (
    Measure(
        name="SA",
        kind="jsd",
        unit="bit",
        text="source address of a packet",
        subject="source addresses",
        in_mean=False,
        drawn=False,
    ),
    Measure(
        name="DA",
        kind="jsd",
        unit="bit",
        text="destination address of a packet",
        subject="destination addresses",
        in_mean=False,
        drawn=False,
    ),
    Measure(
        name="SA-rank",
        kind="rank",
        unit="bit",
        text="popularity of source addresses",
        subject="the popularity of senders",
    ),
    Measure(
        name="DA-rank",
        kind="rank",
        unit="bit",
        text="popularity of destination addresses",
        subject="the popularity of receivers",
    ),
    Measure(
        name="SP",
        kind="jsd",
        unit="bit",
        text="source port of a packet",
        subject="source ports",
    ),
    Measure(
        name="DP",
        kind="jsd",
        unit="bit",
        text="destination port of a packet",
        subject="destination ports",
    ),
    Measure(
        name="PR",
        kind="jsd",
        unit="bit",
        text="protocol of a packet",
        subject="the shares of TCP and UDP",
    ),
    Measure(
        name="FL",
        kind="jsd",
        unit="bit",
        text="TCP flags of a packet",
        subject="TCP flags",
    ),
    Measure(
        name="PL",
        kind="emd",
        unit="B",
        text="IP length of a packet",
        subject="packet sizes",
    ),
    Measure(
        name="TTL",
        kind="emd",
        unit="",
        text="TTL of a packet",
        subject="TTLs",
        more="high",
        less="low",
    ),
    Measure(
        name="WIN",
        kind="emd",
        unit="",
        text="TCP window of a packet",
        subject="TCP windows",
    ),
    Measure(
        name="NPF",
        kind="emd",
        unit="packets",
        text="number of packets of a directed flow",
        subject="packets per flow",
        more="many",
        less="few",
    ),
    Measure(
        name="NBF",
        kind="emd",
        unit="B",
        text="number of bytes of a directed flow",
        subject="bytes per flow",
        more="many",
        less="few",
    ),
)


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Measure addresses, ports, sizes, TTLs, windows and flags.

    SA and DA do not count in the mean: they are 1 where addresses are fresh on purpose, and the
    rank forms say what they then would.
    """
    return distance_figures(
        pair, family="statistical", measures=MEASURES, of_sessions=statistical_samples
    )


def statistical_samples(trace: Trace) -> dict[str, Sample]:
    """Sample the statistical measures of a trace; FL and WIN over its TCP packets alone.

    Returns:
        A Sample a measure, empty where no packet shows it.

    References:
        CascadeNet, section 7.2.
    """
    packets = trace.packets
    every = trace.session
    tcp = packets.protocol == TCP
    source, target = trace.codes[packets.src], trace.codes[packets.dst]
    counts = np.bincount(trace.flow, minlength=trace.flow_count)

    def sample(values: Array, group: IntArray) -> Sample:
        return Sample(values=values, group=group, group_count=trace.session_count)

    def sizes(values: Array, group: IntArray) -> Sample:
        return sample(values.astype(np.float64), group)

    return {
        "SA": sample(source, every),
        "DA": sample(target, every),
        "SA-rank": sample(source, every),
        "DA-rank": sample(target, every),
        "SP": sample(packets.src_port, every),
        "DP": sample(packets.dst_port, every),
        "PR": sample(packets.protocol, every),
        "FL": sample(packets.tcp_flags[tcp], every[tcp]),
        "PL": sizes(packets.ip_length, every),
        "TTL": sizes(packets.ttl, every),
        "WIN": sizes(packets.window[tcp], every[tcp]),
        "NPF": sizes(counts, trace.flow_session),
        "NBF": sizes(flow_sums(trace, packets.ip_length), trace.flow_session),
    }
