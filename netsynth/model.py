"""A fitted model: codec, generator and what they were learned from, in memory and as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsynth.errors import ModelError
from netsynth.progress import Progress, Silence

if TYPE_CHECKING:
    from netsynth.encode import Codec
    from netsynth.generate import Generator, TraceLayout
    from netsynth.sampling import SampleSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """What was learned; `load` and `save` it, and `sample` captures from it.

    Attributes:
        codec: Turns flows into what the generator learns, and back.
        generator: Learns and draws windows.
        facts: What the model says of itself, in plain values: netsynth's version, generator,
            captures (name, SHA-256, packets, flows, span), settings, seed, and how the fit went.
    """

    codec: Codec
    generator: Generator
    facts: dict[str, Any]

    @staticmethod
    def load(path: Path | str, *, device: str = "auto") -> Model:
        """Read a model file.

        Raises:
            ModelError: If it is missing, no model, damaged, or of a newer schema.
            ConfigError: If there is no such device.
        """
        from netsynth.encode import Codec
        from netsynth.generate import choose_device, find_generator, read_model

        header, arrays = read_model(path)
        if header.get("kind") == "series":
            raise ModelError(f"{path} is a model of series; sample it to .csv, .parquet or .npz")
        parts = {
            name: {k.partition("/")[2]: v for k, v in arrays.items() if k.startswith(f"{name}/")}
            for name in ("codec", "generator")
        }
        try:
            codec = Codec.from_parts(header["codec"], parts["codec"])
            found = find_generator(header["facts"]["generator"])
            layout = layout_of(codec)
            generator = found.from_parts(header["generator"], parts["generator"], layout=layout)
            facts = dict(header["facts"])
        except KeyError as error:
            raise ModelError(f"{path}: the model lacks {error}; fit it again") from error
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        return Model(codec=codec, generator=generator.to(choose_device(device)), facts=facts)

    def save(self, path: Path | str) -> None:
        """Write the model as one file, whole or not at all; the same model gives the same bytes.

        Raises:
            ModelError: If it cannot be written.
        """
        from netsynth.generate import write_model

        codec_header, codec_arrays = self.codec.to_parts()
        header, arrays = self.generator.to_parts()
        write_model(
            path,
            header={"codec": codec_header, "generator": header, "facts": self.facts},
            arrays={
                **{f"codec/{name}": array for name, array in codec_arrays.items()},
                **{f"generator/{name}": array for name, array in arrays.items()},
            },
        )

    @property
    def learned_packets(self) -> int:
        """Packets of the captures learned from."""
        return sum(int(capture["packets"]) for capture in self.facts["captures"])

    @property
    def learned_flows(self) -> int:
        """Flows of the captures learned from."""
        return sum(int(capture["flows"]) for capture in self.facts["captures"])

    @property
    def learned_span_ns(self) -> int:
        """Time the captures learned from cover, ns."""
        return max(1, sum(int(capture["span_ns"]) for capture in self.facts["captures"]))

    def to_json(self) -> str:
        """What the model says of itself, as one JSON object."""
        return json.dumps(self.facts, indent=2)

    def describe(self) -> str:
        """One line for people."""
        names = ", ".join(str(capture["name"]) for capture in self.facts["captures"])
        state = "" if self.facts["fit"]["finished"] else ", unfinished"
        return (
            f"{self.facts['generator']} of {names}: {self.learned_packets:,} packets in "
            f"{self.learned_flows:,} flows{state}"
        )

    def sample(
        self,
        output: Path | str,
        *,
        packets: int | None = None,
        flows: int | None = None,
        duration_ns: int | None = None,
        rate: float | None = None,
        packets_per_s: float | None = None,
        seed: int = 0,
        where: Mapping[str, str] | None = None,
        weights: Mapping[str, float] | None = None,
        keep_addresses: bool = False,
        timestamps: str = "ml",
        payload: str = "templates",
        snaplen: int | None = None,
        arp: bool = False,
        progress: Progress | None = None,
    ) -> SampleSummary:
        """Write a capture that behaves like those the model was fitted to.

        Memory does not grow with the size of the capture. The same model, arguments and seed give
        the same bytes.

        Args:
            output: File to write (.pcap or .pcapng, and .gz or .zst), or "-".
            packets: How many; exactly so many are written.
            flows: How many, in place of packets.
            duration_ns: How long a trace, in place of packets. Where all three are None, as many
                packets as were learned.
            rate: Multiple of the learned rate.
            packets_per_s: Mean rate to reach, in place of `rate`.
            seed: Of all that is random.
            where: Conditions that every flow fulfils, see `netsynth.encode.allowed_tokens`.
            weights: How much likelier flows of a class become: "elephant", "mouse" or
                "label:NAME"; for generators in `netsynth.generate.WEIGHTED`.
            keep_addresses: Write the learned addresses, not fresh ones.
            timestamps: "ml" as generated, "eq" even in a step, "sp" even in its sub-period.
            payload: "templates", "zero", "random", or "none" to cut frames behind the headers.
            snaplen: Bytes kept of each frame; None keeps all.
            arp: Let hosts of a segment ask for each other's address first; beside the packets.
            progress: Told what is done.

        Raises:
            ConfigError: If an argument is out of range.
            ModelError: If the model makes no flow that fulfils the conditions.
            CaptureError: If the capture cannot be written.
        """
        from netsynth.sampling import SampleRequest, write_sample

        request = SampleRequest(
            packets=packets,
            flows=flows,
            duration_ns=duration_ns,
            rate=rate,
            packets_per_s=packets_per_s,
            seed=seed,
            where=dict(where or {}),
            weights=dict(weights or {}),
            keep_addresses=keep_addresses,
            timestamps=timestamps,
            payload=payload,
            snaplen=snaplen,
            arp=arp,
        )
        return write_sample(self, request, output, progress=progress or Silence())


def layout_of(codec: Codec) -> TraceLayout:
    """Tell a generator what the traces of `codec` look like."""
    from netsynth.generate import TraceLayout

    return TraceLayout(
        token_fields=codec.token_fields,
        series_fields=codec.series_fields,
        record_fields=codec.record_fields,
        window_ns=codec.window_ns,
        step_count=codec.config.series.step_count,
    )
