"""What Suricata makes of a capture, step by step from noise to real traffic.

    python benchmarks/ids.py REAL.pcap [SYNTHETIC.pcap ...] [--without-steps]

Each step keeps sizes and times of the TCP and UDP packets of REAL and takes something away from
it, or lets netsynth's compiler put it back: what remains says what an IDS looks at. Further
captures get a line each. Needs Suricata; docs/ids.md has the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from netsynth.analysers import SuricataFindings, ask_suricata, fill_frames, find_program
from netsynth.capture import CaptureWriter, read_capture
from netsynth.demux import CompiledPackets, assemble_flows, compile_flows
from netsynth.tables import NO_WINDOW_SCALE, TCP, UDP, FlowTable, PacketTable
from netsynth.verify import count_talking

PLACES = 8  # how far packets are jittered


def steps(flows: FlowTable, rng: np.random.Generator) -> Iterator[tuple[str, CompiledPackets]]:
    """Yield what each step is called, and its packets."""
    whole = compile_flows(flows, seed=0)
    order = np.argsort(flows.packets.time_ns, kind="stable")
    real = flows.packets.take(order)
    count = len(real)
    is_tcp = real.protocol == TCP

    def random(dtype: type) -> np.ndarray:
        numbers = rng.integers(np.iinfo(dtype).max, size=count, endpoint=True, dtype=dtype)
        return np.where(is_tcp, numbers, 0).astype(dtype)

    numbers = {"seq": random(np.uint32), "ack": random(np.uint32)}
    flags = random(np.uint8) & 31  # FIN to ACK
    yield "random numbers and flags", bare(dataclasses.replace(real, **numbers, tcp_flags=flags))
    yield "real flags, random numbers", bare(dataclasses.replace(real, **numbers))
    plain = {
        "option_bits": np.zeros_like(real.option_bits),
        "mss": np.zeros_like(real.mss),
        "window_scale": np.full_like(real.window_scale, NO_WINDOW_SCALE),
    }
    yield "real headers without TCP options", bare(dataclasses.replace(real, **plain))
    yield "real headers, zero payload", bare(real)
    yield "compiled anew, zero payload", bare(whole.packets)
    yield "compiled anew, first payloads", whole
    shuffled = np.argsort(np.arange(count) + rng.uniform(0, PLACES, count), kind="stable")
    yield f"... jittered by {PLACES} places", move(whole, shuffled)


def bare(packets: PacketTable) -> CompiledPackets:
    """Wrap packets whose payload is zero."""
    nothing = np.zeros(len(packets), dtype=np.int64)
    return CompiledPackets(
        packets=packets,
        flow=nothing,
        prefix=np.zeros(0, dtype=np.uint8),
        prefix_start=nothing,
        prefix_length=nothing,
        repairs={},
    )


def move(part: CompiledPackets, rows: np.ndarray) -> CompiledPackets:
    """Put other packets at the same times."""
    packets = dataclasses.replace(part.packets.take(rows), time_ns=part.packets.time_ns)
    return dataclasses.replace(
        part,
        packets=packets,
        prefix_start=part.prefix_start[rows],
        prefix_length=part.prefix_length[rows],
    )


def write(part: CompiledPackets, path: Path) -> Path:
    """Write the packets of a step as a capture."""
    with CaptureWriter(path) as writer:
        writer.write(
            part.packets,
            prefix=part.prefix,
            prefix_start=part.prefix_start,
            prefix_length=part.prefix_length,
            fill_seed=0,
            fill="random" if part.prefix.size else "zero",
        )
    return path


def show(name: str, found: SuricataFindings, talking: int) -> None:
    """Print the line of a capture of which `talking` flows have payload."""
    closed = 100 * found.end_shares.get("closed", 0.0)
    print(
        f"| {name} | {closed:.1f} % | {found.stream_alerts_per_thousand:.2f} "
        f"| {100 * min(found.detected / talking, 1):.1f} % |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path)
    parser.add_argument("others", type=Path, nargs="*")
    parser.add_argument("--without-steps", action="store_true", help="only the captures given")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if find_program("suricata") is None:
        parser.error("suricata is not installed")
    packets, _ = read_capture(options.real)
    flows = assemble_flows(packets.take(np.isin(packets.protocol, (TCP, UDP))))
    print("| capture | TCP flows ending closed | stream alerts per 1,000 | applications detected |")
    print("|---|---|---|---|")
    talking = count_talking(flows)
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / "whole.pcap"  # as `netsynth verify` asks of the real one
        whole = filled if fill_frames(options.real, filled) else options.real
        show(options.real.name, ask_suricata(whole, checks_sums=False), talking)
        taken = steps(flows, np.random.default_rng(options.seed))
        for name, part in () if options.without_steps else taken:
            show(name, ask_suricata(write(part, Path(folder) / "step.pcap")), talking)
    for path in options.others:
        show(path.name, ask_suricata(path), count_talking(assemble_flows(read_capture(path)[0])))


if __name__ == "__main__":
    main()
