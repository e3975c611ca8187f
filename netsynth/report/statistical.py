"""Statistical measures: which addresses, ports, sizes, TTLs, windows and flags occur how often."""

from __future__ import annotations

import numpy as np

from netsynth.numbers import Array, IntArray
from netsynth.report.samples import Measure, Sample
from netsynth.report.trace import Trace, flow_sums
from netsynth.tables import TCP

MEASURES = (
    Measure(name="SA", kind="jsd", unit="bit", text="source address of a packet"),
    Measure(name="DA", kind="jsd", unit="bit", text="destination address of a packet"),
    Measure(name="SA-rank", kind="rank", unit="bit", text="popularity of source addresses"),
    Measure(name="DA-rank", kind="rank", unit="bit", text="popularity of destination addresses"),
    Measure(name="SP", kind="jsd", unit="bit", text="source port of a packet"),
    Measure(name="DP", kind="jsd", unit="bit", text="destination port of a packet"),
    Measure(name="PR", kind="jsd", unit="bit", text="protocol of a packet"),
    Measure(name="FL", kind="jsd", unit="bit", text="TCP flags of a packet"),
    Measure(name="PL", kind="emd", unit="B", text="IP length of a packet"),
    Measure(name="TTL", kind="emd", unit="", text="TTL of a packet"),
    Measure(name="WIN", kind="emd", unit="", text="TCP window of a packet"),
    Measure(name="NPF", kind="emd", unit="packets", text="packets of a directed flow"),
    Measure(name="NBF", kind="emd", unit="B", text="bytes of a directed flow"),
)
IN_MEAN = ("SP", "DP", "PR", "FL", "SA-rank", "DA-rank", "PL", "TTL", "WIN", "NPF", "NBF")


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
