"""Time flow assembly and compilation: nanoseconds per packet, beside pandas' groupby.

    python benchmarks/demux.py [--packets 1000000] [--repeats 5] [CAPTURE ...]

Without captures a table of dialogues between 5,000 hosts is made up, its flows interleaved at
random. Times are CPU times, medians of repeats that follow a first run (which may compile).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows, compile_flows
from netsynth.demux.grouping import FlowNumbers, counting_sort
from netsynth.tables import ACK, PSH, SYN, TCP, PacketTable


def make_packets(count: int, *, seed: int = 1) -> PacketTable:
    """Make `count` packets of TCP flows, their sizes heavy-tailed with mean about 20."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.pareto(1.3, size=count // 4) * 6 + 2, 20_000).astype(np.int64)
    flow = np.repeat(np.arange(sizes.size), sizes)[:count]
    start = rng.random(sizes.size)[flow]
    flow = flow[np.argsort(start + rng.random(count) * 0.1, kind="stable")]
    hosts = rng.zipf(1.2, size=(flow.max() + 1, 2)) % 5_000
    hosts[:, 1] += 5_000
    is_reverse = rng.random(count) < 0.5
    is_first = np.zeros(count, dtype=np.bool_)
    is_first[np.unique(flow, return_index=True)[1]] = True
    is_reverse &= ~is_first
    addresses = np.zeros((10_000, 16), dtype=np.uint8)
    addresses[:, 10:12] = 255
    addresses[:, 12] = 10
    addresses[:, 14:] = np.arange(10_000, dtype=">u2").view(np.uint8).reshape(-1, 2)
    packets = PacketTable.zeros(count, addresses)
    client = (1024 + flow % 64_000).astype(np.uint16)
    packets.time_ns[:] = np.cumsum(rng.integers(1, 20_000, size=count))
    packets.src[:] = np.where(is_reverse, hosts[flow, 1], hosts[flow, 0])
    packets.dst[:] = np.where(is_reverse, hosts[flow, 0], hosts[flow, 1])
    packets.src_port[:] = np.where(is_reverse, 443, client)
    packets.dst_port[:] = np.where(is_reverse, client, 443)
    packets.protocol[:] = TCP
    packets.ip_version[:] = 4
    packets.ttl[:] = 64
    packets.window[:] = 65535
    packets.tcp_flags[:] = np.where(is_first, SYN, ACK | PSH)
    packets.payload_length[:] = np.where(is_first, 0, rng.integers(0, 1449, size=count))
    packets.seq[:] = rng.integers(0, 1 << 32, size=count)
    return packets


def median_ns(run: Callable[[], object], count: int, repeats: int) -> float:
    """Return the median time of a run after the first, ns per packet."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time_ns()
        run()
        times.append(time.process_time_ns() - start)
    return statistics.median(times) / count


def group(packets: PacketTable) -> object:
    """Number the flows and sort the packets by them."""
    numbers = FlowNumbers()
    flow = np.empty(len(packets), dtype=np.int32)
    numbers.number(packets, flow)
    return counting_sort(flow, numbers.count, np.empty(len(packets), dtype=np.int32))


def group_with_pandas(packets: PacketTable) -> object:
    """Do the same with pandas, without timeouts and reopened connections."""
    p = packets
    source = p.src.astype(np.int64) << 16 | p.src_port
    target = p.dst.astype(np.int64) << 16 | p.dst_port
    frame = pd.DataFrame(
        {"low": np.minimum(source, target), "high": np.maximum(source, target), "p": p.protocol}
    )
    number = frame.groupby(["low", "high", "p"], sort=False).ngroup().to_numpy()
    return np.argsort(number, kind="stable")


def measure(name: str, packets: PacketTable, repeats: int) -> None:
    """Print one line for a table of packets."""
    flows = assemble_flows(packets)
    runs: dict[str, Callable[[], object]] = {
        "group": lambda: group(packets),
        "pandas": lambda: group_with_pandas(packets),
        "assemble": lambda: assemble_flows(packets),
        "compile zero": lambda: compile_flows(flows, seed=1, payload="zero"),
        "compile templates": lambda: compile_flows(flows, seed=1),
    }
    cells = [f"{median_ns(run, len(packets), repeats):17.0f}" for run in runs.values()]
    print(f"{name:28}{len(packets):10,}{len(flows):9,}" + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captures", nargs="*", metavar="CAPTURE")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    columns = ("group", "pandas", "assemble", "compile zero", "compile templates")
    print(f"{'ns per packet':28}{'packets':>10}{'flows':>9}" + "".join(f"{c:>17}" for c in columns))
    if not options.captures:
        measure("made up", make_packets(options.packets), options.repeats)
    for path in options.captures:
        measure(path.rsplit("/", 1)[-1], read_capture(path)[0], options.repeats)


if __name__ == "__main__":
    main()
