"""Sampling: windows from the generator to packets in a file, in bounded memory."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netsynth.ahead import work_ahead
from netsynth.chain import (
    chain_windows,
    limit_packets,
    limit_time,
    move_ports,
    shift_flows,
    take_flows,
    take_packets,
)
from netsynth.errors import ConfigError, ModelError
from netsynth.progress import Progress
from netsynth.tables import EncodedTrace

if TYPE_CHECKING:
    from netsynth.capture import CaptureWriter
    from netsynth.demux import CompiledPackets, Neighbours
    from netsynth.encode import AddressMap
    from netsynth.model import Model

GROUP_FLOWS = 150_000  # windows are drawn side by side up to about this many flows
AHEAD_PACKETS = 300_000  # drawn ahead of those that are written
EMPTY_WINDOWS = 64  # after so many windows without a flow, none will come
HEADER_BYTES = 94  # Ethernet 14, IPv4 20, TCP 60 at most (RFC 9293 section 3.1): payload "none"
TIMESTAMPS = ("ml", "eq", "sp")
PAYLOADS = ("templates", "zero", "random", "none")
SLOWEST, FASTEST = 0.0001, 1000  # multiples of the learned rate


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSummary:
    """What `Model.sample` wrote.

    Attributes:
        output: Path, or "-".
        packets: IP packets written.
        flows: Flows they belong to.
        wire_bytes: Bytes of the whole frames.
        span_s: First to last packet, s.
        seconds: How long it took.
        crowded: Blocks of addresses so full that learned addresses come out of them.
        arp_frames: Frames of address resolution written beside the packets.
    """

    output: str
    packets: int
    flows: int
    wire_bytes: int
    span_s: float
    seconds: float
    crowded: tuple[str, ...]
    arp_frames: int = 0

    def to_json(self) -> str:
        """One JSON object, keys as the attributes."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def describe(self) -> str:
        """One line for people."""
        name = "standard output" if self.output == "-" else self.output
        return (
            f"{name}: {self.packets:,} packets in {self.flows:,} flows, "
            f"{self.wire_bytes:,} bytes on the wire, {self.span_s:,.3f} s of traffic, "
            f"in {self.seconds:.1f} s"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRequest:
    """The arguments of `Model.sample`, checked; see there."""

    packets: int | None = None
    flows: int | None = None
    duration_ns: int | None = None
    rate: float | None = None
    packets_per_s: float | None = None
    seed: int = 0
    where: dict[str, str] = dataclasses.field(default_factory=dict)
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    keep_addresses: bool = False
    timestamps: str = "ml"
    payload: str = "templates"
    snaplen: int | None = None
    arp: bool = False

    def __post_init__(self) -> None:
        limits = {"packets": self.packets, "flows": self.flows, "duration_ns": self.duration_ns}
        given = {name: value for name, value in limits.items() if value is not None}
        if len(given) > 1:
            raise ConfigError(f"give one of {', '.join(given)}")
        for name, value in given.items():
            if value < 1:
                raise ConfigError(f"{name} is {value}, but must be at least 1")
        if self.rate is not None and self.packets_per_s is not None:
            raise ConfigError("give rate or packets_per_s, not both")
        for name, choices in (("timestamps", TIMESTAMPS), ("payload", PAYLOADS)):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}, but must be one of {', '.join(choices)}"
                )


def write_sample(
    model: Model, request: SampleRequest, output: Path | str, *, progress: Progress
) -> SampleSummary:
    """Draw, compile and write window after window; see `Model.sample`."""
    from netsynth.capture import CaptureWriter
    from netsynth.demux import Neighbours

    _forbid_overwriting(output)
    began = time.monotonic()
    drawing = _Drawing(model, request)
    goal, unit = drawing.goal
    snaplen = request.snaplen
    if request.payload == "none":
        snaplen = min(snaplen or HEADER_BYTES, HEADER_BYTES)
    packets = flows = wire_bytes = first_ns = last_ns = arp_frames = 0
    neighbours = Neighbours() if request.arp else None
    before = np.zeros(0, dtype=np.int64)  # flows of the part before: a flow may go on in the next
    progress.start("sampling", total=goal, unit=unit)
    parts = drawing.parts()
    if str(output) == "-":  # whoever replays it starts the clock with the first bytes
        parts = itertools.chain(list(itertools.islice(parts, 1)), parts)
    with CaptureWriter(
        output,
        time_resolution_ns=1000 if model.codec.tick_ns % 1000 == 0 else 1,
        snaplen=snaplen,
        mac_key=drawing.secret("mac"),
    ) as writer:
        for part in parts:
            if neighbours is None:
                _write_part(writer, part, request)
            else:
                key = drawing.secret("mac")
                arp_frames += _write_with_arp(writer, part, request, neighbours, mac_key=key)
            now = np.unique(part.flow)
            flows += int(now.size - np.isin(now, before).sum())
            before = now
            times_ns = part.packets.time_ns
            first_ns, last_ns = (first_ns if packets else int(times_ns[0])), int(times_ns[-1])
            packets += len(part.packets)
            wire_bytes += int(part.packets.wire_length.sum(dtype=np.int64))
            done = {"packets": packets, "flows": flows, "s": (last_ns - first_ns) / 1e9}
            progress.update(done[unit])
    progress.finish()
    return SampleSummary(
        output=str(output),
        packets=packets,
        flows=flows,
        wire_bytes=wire_bytes,
        span_s=(last_ns - first_ns) / 1e9,
        seconds=round(time.monotonic() - began, 3),
        crowded=drawing.addresses.crowded if drawing.addresses else (),
        arp_frames=arp_frames,
    )


def _write_part(writer: CaptureWriter, part: CompiledPackets, request: SampleRequest) -> None:
    writer.write(
        part.packets,
        prefix=part.prefix,
        prefix_start=part.prefix_start,
        prefix_length=part.prefix_length,
        fill_seed=request.seed,
        fill="random" if request.payload in ("templates", "random") else "zero",
    )


def _write_with_arp(
    writer: CaptureWriter,
    part: CompiledPackets,
    request: SampleRequest,
    neighbours: Neighbours,
    *,
    mac_key: int,
) -> int:
    """Write packets, and before those that need it who asks for whose address; return frames."""
    from netsynth.capture import build_exchange

    p = part.packets
    asked = neighbours.find_questions(p)
    begin = 0
    for row, request_ns, answer_ns in zip(*(column.tolist() for column in asked), strict=True):
        _write_part(writer, take_packets(part, np.arange(begin, row)), request)
        asker, owner = (p.addresses[column[row]].tobytes() for column in (p.src, p.dst))
        frames = build_exchange(asker, owner, mac_key=mac_key)
        for frame, time_ns in zip(frames, (request_ns, answer_ns), strict=True):
            writer.write_frame(frame, time_ns=time_ns)
        begin = row
    _write_part(writer, take_packets(part, np.arange(begin, len(p))), request)
    return 2 * len(asked.rows)


def _forbid_overwriting(output: Path | str) -> None:
    """Refuse outputs that would fail after the work is done, or take the place of what they are.

    A capture appears by a rename, which would put a file in place of a device or a pipe.
    """
    path = Path(output)
    if str(output) == "-":
        return
    if path.is_dir():
        raise ConfigError(f"{output} is a folder; name a file for the capture")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{output} is no ordinary file; write to - and redirect it there")
    if path.suffix == ".netsynth":
        raise ConfigError(f"{output} is named like a model; name a .pcap or .pcapng file")


def _class_weights(model: Model, weights: dict[str, float]) -> dict[str, float]:
    """Check that the model's generator knows weights; name labels by their token.

    Raises:
        ConfigError: If it knows none, or no such label.
    """
    from netsynth.generate import WEIGHTED

    if not weights:
        return {}
    kind = model.facts["generator"]
    if kind not in WEIGHTED:
        raise ConfigError(f"a {kind} knows no weights; fit with --generator {WEIGHTED[0]}")
    known = {f"label:{name}": f"label:{i}" for i, name in enumerate(model.codec.label_names)}
    unknown = [n for n in weights if n.startswith("label:") and n not in known]
    if unknown:
        labels = ", ".join(model.codec.label_names[1:]) or "none; fit with --labels"
        raise ConfigError(f"the model knows no {unknown[0]}; its labels are {labels}")
    return {known.get(name, name): weight for name, weight in weights.items()}


class _Drawing:
    """The walk back for one request: windows, flows, packets.

    Attributes:
        goal: How much is wanted, and its unit: "packets", "flows", or "s".
        addresses: Map to fresh addresses, or None.
    """

    def __init__(self, model: Model, request: SampleRequest) -> None:
        from netsynth.encode import AddressMap, allowed_tokens

        self._model, self._request = model, request
        self._made = 0.0
        self._allowed = allowed_tokens(model.codec, request.where)
        self._weights = _class_weights(model, request.weights)
        self._window_ns = model.codec.window_ns
        learned_per_s = model.learned_packets / (model.learned_span_ns / 1e9)
        self._rate = request.rate if request.rate is not None else 1.0
        if request.packets_per_s is not None:
            self._rate = request.packets_per_s / learned_per_s
        if not SLOWEST <= self._rate <= FASTEST:
            raise ConfigError(
                f"the rate is {self._rate:.3g} times the learned {learned_per_s:.4g} packets/s; "
                f"it must be {SLOWEST} to {FASTEST} times that"
            )
        self.addresses: AddressMap | None = None
        if not request.keep_addresses:
            self.addresses = AddressMap(self.secret("addresses"), model.codec.hosts.addresses)

    @property
    def goal(self) -> tuple[float, str]:
        """How much is wanted, and in which unit."""
        request = self._request
        if request.duration_ns is not None:
            return request.duration_ns / 1e9, "s"
        if request.flows is not None:
            return request.flows, "flows"
        return request.packets or self._model.learned_packets, "packets"

    def secret(self, purpose: str) -> int:
        """Derive a key from the seed and what only the model's owner knows, its captures' hashes.

        The seed alone is easily guessed, and with it the addresses behind the fresh ones.
        """
        known = [str(capture["sha256"]) for capture in self._model.facts["captures"]]
        text = "/".join([purpose, str(self._request.seed), *known])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")

    def parts(self) -> Iterator[CompiledPackets]:
        """Yield the packets to write, in time order, exactly as many as are wanted."""
        start_ns = self._model.codec.first_ns
        parts = chain_windows(self._layers(), window_ns=self._window_ns, start_ns=start_ns)
        goal, unit = self.goal
        if unit == "packets":
            return limit_packets(parts, int(goal))
        if unit == "s":
            return limit_time(parts, start_ns + int(self._request.duration_ns or 0))
        return parts

    def _layers(self) -> Iterator[list[CompiledPackets]]:
        """Compile, for window after window of time, the flows that lie over each other in it."""
        from netsynth.demux import compile_flows
        from netsynth.encode import PortAllocator, decode

        request, codec = self._request, self._model.codec
        payload = request.payload if request.payload == "templates" else "none"
        whole, share = int(self._rate), self._rate % 1
        shares = [1.0] * whole + [share] * (share > 0)
        rng = np.random.default_rng([request.seed, 1])
        traces = work_ahead(
            self._traces(),
            size_of=lambda trace: int(trace.record_offsets[-1]),
            most=AHEAD_PACKETS,
            is_enough=lambda: self._made >= self.goal[0],
        )
        ports = [PortAllocator(codec=codec.source_ports) for _ in shares]
        flows_left = request.flows
        for index in itertools.count():
            taken: set[tuple[bytes, bytes, int, int, int]] = set()
            layers: list[CompiledPackets] = []
            for part, allocator in zip(shares, ports, strict=True):
                flows = decode(
                    codec,
                    next(traces),
                    rng=rng,
                    ports=allocator,
                    timestamps=request.timestamps,
                    map_addresses=self.addresses.map if self.addresses else None,
                )
                if part < 1:
                    flows = take_flows(flows, np.flatnonzero(rng.random(len(flows)) < part))
                if len(shares) > 1:
                    flows = move_ports(flows, taken)
                if flows_left is not None:
                    flows = take_flows(flows, np.arange(min(flows_left, len(flows))))
                    flows_left -= len(flows)
                flows = shift_flows(flows, codec.first_ns + index * self._window_ns)
                if len(flows):
                    layers.append(compile_flows(flows, seed=request.seed, payload=payload))
            yield layers
            end_ns = (index + 1) * self._window_ns
            if flows_left == 0 or end_ns >= (request.duration_ns or math.inf):
                return

    def _traces(self) -> Iterator[EncodedTrace]:
        """Draw windows without end, as many side by side as are still wanted and fit in memory."""
        goal, unit = self.goal
        model, windows, made = self._model, 0, 0.0
        learned = model.learned_span_ns / self._window_ns  # windows learned from, about
        per_window = {
            "packets": model.learned_packets / learned,
            "flows": model.learned_flows / learned,
            "s": self._window_ns / 1e9 / self._rate,
        }
        largest = max(1, int(GROUP_FLOWS / max(per_window["flows"], 1)))
        draw: Any = model.generator.sample
        if self._weights:
            draw = functools.partial(draw, weights=self._weights)
        for group in itertools.count():
            mean = made / windows if made else per_window[unit]
            count = min(max(1, math.ceil((goal - made) / mean)), largest)
            seed = int(np.random.default_rng([self._request.seed, 2, group]).integers(2**62))
            for trace in draw(count, seed=seed, allowed=self._allowed):
                size = {"packets": int(trace.record_offsets[-1]), "flows": len(trace)}
                made += size.get(unit, per_window["s"])
                self._made = made
                windows += 1
                yield trace
            if windows >= EMPTY_WINDOWS and not made:
                raise ModelError("the model makes no flow like that; relax the conditions")
