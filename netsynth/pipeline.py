"""The walk through the rooms: fit, compare, summarise, and finding models.

fit        capture -> demux -> encode -> generate -> a Model
sample     generate -> encode -> demux -> capture, in sampling.py
compare    capture -> demux -> report
summarise  capture -> demux -> a FlowCensus -> a CaptureSummary
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsynth import __version__
from netsynth.errors import ConfigError, ModelError
from netsynth.model import Model, layout_of
from netsynth.progress import Progress, Silence
from netsynth.reading import (
    Paths,
    learned_part,
    read_census,
    read_flows,
    read_packets,
    read_traffic,
)
from netsynth.settings import Sections, change_settings, unlike_facts
from netsynth.summary import CaptureSummary, summarise_flows

if TYPE_CHECKING:
    from netsynth.report import FidelityReport


def fit(
    captures: Paths,
    *,
    output: Path | str | None = None,
    generator: str = "transformer",
    device: str = "auto",
    seed: int = 0,
    labels: Path | str | None = None,
    minutes: float | None = None,
    max_epochs: int | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    salvage: bool = False,
    decapsulate: bool = False,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Model:
    """Learn a model from captures.

    Args:
        captures: One or several, each a file, a folder, a pattern or a rotation set; several are
            learned together, each with its own clock.
        output: Model file, written at each checkpoint and at the end; None writes none.
        generator: Name in `netsynth.generate.GENERATORS`.
        device: "auto" (a CUDA GPU where there is one), "cpu" or "cuda".
        seed: Of all that is random.
        labels: CSV file of windows of labelled traffic, see `netsynth.demux.read_labels`.
        minutes: Most minutes to train; None trains until held-out likelihood stops rising.
        max_epochs: Most passes over the flows, in place of the generator's setting.
        resume: Go on with the unfinished model in `output`.
        settings: Values by dotted key, see `default_settings`.
        salvage: Read on past damaged records.
        decapsulate: Learn what is inside GRE, IP in IP and VXLAN, not the tunnels' own packets.
        progress: Told what is done.
        stop: Asked during training; True ends it, and what was learned so far is the model.

    Raises:
        CaptureError: If a capture cannot be read, holds no IP packets, or too few flows.
        ConfigError: If a setting is unknown or out of range.
        ModelError: If the model cannot be written, or `resume` finds none that fits.
    """
    from netsynth.encode import fit_codec
    from netsynth.generate import STATIC_VIEW, choose_device, find_generator

    progress = progress or Silence()
    changes = dict(settings or {})
    if max_epochs is not None:
        changes[f"{generator}.max_epochs"] = max_epochs
    sections = change_settings(default_settings(generator), changes)
    target = choose_device(device)
    paths = [captures] if isinstance(captures, (str, Path)) else list(captures)
    facts: dict[str, Any] = {
        "netsynth": __version__,
        "generator": generator,
        "seed": seed,
        "labels": Path(labels).name if labels is not None else None,
        "settings": {name: dataclasses.asdict(config) for name, config in sections.items()},
        "captures": [],
    }
    tables = []
    for path in paths:
        flows, about = read_flows(
            path,
            sections,
            labels,
            salvage=salvage,
            decapsulate=decapsulate,
            progress=progress,
        )
        tables.append(flows)
        facts["captures"].append(about)
    _forbid_overwriting(output, paths)
    tables, learned = learned_part(tables, sections, progress=progress)
    if resume:
        model = _unfinished(output, facts, device=device)
    else:
        progress.start("learning vocabularies")
        static = generator in STATIC_VIEW
        codec = fit_codec(tables, config=learned["encode"], seed=seed, static=static)
        made = find_generator(generator)
        fresh = made(layout=layout_of(codec), config=sections[generator], seed=seed)
        model = Model(codec=codec, generator=fresh.to(target), facts=facts)
    progress.start("encoding")
    static = generator in STATIC_VIEW
    traces = [t for flows in tables for t in model.codec.encode(flows, static=static)]
    del tables
    _train(model, traces, output, seed=seed, minutes=minutes, progress=progress, stop=stop)
    return model


def compare(
    real: Paths,
    synthetic: Paths,
    *,
    families: Sequence[str] | None = None,
    seed: int = 0,
    quick: bool = False,
    held_out: Paths | None = None,
    labels: Path | str | None = None,
    synthetic_labels: Path | str | None = None,
    salvage: bool = False,
    progress: Progress | None = None,
) -> FidelityReport:
    """Measure how close a synthetic capture is to a real one: what `netsynth report` shows.

    Args:
        real: A file, folder, pattern or rotation set, or several that are one capture.
        synthetic: Likewise.
        families: Families of measures, of `netsynth.report.FAMILIES`; None for all.
        seed: Of the halves compared, of resampling and of the classifiers.
        quick: No intervals, forecasts or anomaly detection.
        held_out: Real traffic that the model was not fitted on; membership inference needs it.
        labels: CSV file of windows of labelled traffic in `real`.
        synthetic_labels: And in `synthetic`.
        salvage: Read on past damaged records.
        progress: Told what is done.

    Raises:
        CaptureError: If a capture cannot be read.
        ConfigError: If a family of measures is unknown.
    """
    from netsynth.report import compare as compare_traffic

    progress = progress or Silence()
    ours, facts = read_traffic(real, labels, salvage=salvage, progress=progress)
    theirs, others = read_traffic(synthetic, synthetic_labels, salvage=salvage, progress=progress)
    unseen = None
    if held_out is not None:
        unseen, _ = read_traffic(held_out, salvage=salvage, progress=progress)
    return compare_traffic(
        ours,
        theirs,
        families=families,
        seed=seed,
        quick=quick,
        held_out=unseen,
        real_facts=facts,
        synthetic_facts=others,
        progress=progress,
    )


def summarise(
    captures: Paths,
    *,
    salvage: bool = False,
    decapsulate: bool = False,
    labels: Path | str | None = None,
    progress: Progress | None = None,
) -> CaptureSummary:
    """Count what captures hold, read as one capture.

    Raises:
        CaptureError: If one cannot be read, or none of them holds IP packets.
    """
    from netsynth.demux import assemble_flows, census_of, read_labels

    progress = progress or Silence()
    if labels is None:
        census, info = read_census(
            captures, salvage=salvage, decapsulate=decapsulate, progress=progress
        )
    else:
        table = read_labels(labels)
        packets, info = read_packets(
            captures, salvage=salvage, decapsulate=decapsulate, progress=progress
        )
        census = census_of(assemble_flows(packets, labels=table))
    return summarise_flows(census, info)


def load_model(path: Path | str, *, device: str = "auto") -> Model:
    """Read a model file; see `Model.load`."""
    return Model.load(path, device=device)


def find_model(folder: Path) -> tuple[Path, int]:
    """Find the newest model in `folder`; return its path, and how many there are.

    Raises:
        ModelError: If there is none.
    """
    models = sorted(folder.glob("*.netsynth"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not models:
        raise ModelError("no model in this folder; fit one, or name one with --model")
    return models[-1], len(models)


def default_settings(generator: str) -> Sections:
    """Return the settings of a fit, by section: demux, encode, and the generator's name.

    Raises:
        ConfigError: If there is no such generator.
    """
    from netsynth.demux import DemuxConfig
    from netsynth.encode import EncodeConfig
    from netsynth.generate import find_config

    return {
        "demux": DemuxConfig(),
        "encode": EncodeConfig(),
        generator: find_config(generator)(),
    }


def _forbid_overwriting(output: Path | str | None, captures: Sequence[Path | str]) -> None:
    """Refuse a model path that is a capture's, or cannot be written, before hours of training."""
    if output is None:
        return
    target = Path(output)
    if any(os.path.exists(path) and target.exists() and target.samefile(path) for path in captures):
        raise ConfigError(f"{output} is the capture; name another file for the model")
    if target.is_dir():
        raise ModelError(f"{output} is a folder; name a file for the model")
    if not target.parent.is_dir():
        raise ModelError(f"{output}: there is no folder {target.parent}; make it first")
    if not os.access(target.parent, os.W_OK):
        raise ModelError(f"{output}: the folder {target.parent.resolve()} is not writable")


def _unfinished(output: Path | str | None, facts: dict[str, Any], *, device: str) -> Model:
    """Load the model to go on with, if it is of the same captures, settings and seed."""
    if output is None:
        raise ConfigError("resume needs output: the model to go on with")
    model = Model.load(output, device=device)
    if model.facts["fit"]["finished"]:
        raise ModelError(f"{output} is finished; fit it anew without --resume")
    differing = unlike_facts(model.facts, facts, ("generator", "seed", "labels"))
    if [c["sha256"] for c in model.facts["captures"]] != [c["sha256"] for c in facts["captures"]]:
        differing.append("captures")
    if differing:
        raise ModelError(
            f"{output} was begun with other {', '.join(differing)}; "
            "give the same to go on, or leave out --resume"
        )
    return model


def _train(
    model: Model,
    traces: list[Any],
    output: Path | str | None,
    *,
    seed: int,
    minutes: float | None,
    progress: Progress,
    stop: Callable[[], bool],
) -> None:
    """Train the generator, and save the model after each level and at the end."""
    facts, phase = model.facts, ""

    def report(level: str, share: float, text: str) -> None:
        nonlocal phase
        if level != phase:
            phase = level
            progress.start(f"training {level}", total=1.0)
        progress.update(share, note=text)

    def save(*, finished: bool) -> None:
        header, _ = model.generator.to_parts()
        facts["fit"] = {"finished": finished, "levels": header.get("outcomes", {})}
        if output is not None:
            model.save(output)

    stop()  # whoever waits for it knows that from now on stopping keeps what was learned
    model.generator.fit(
        traces,
        seed=seed,
        report=report,
        stop=stop,
        minutes=minutes,
        checkpoint=lambda: save(finished=False),
    )
    progress.finish()
    save(finished=not stop())
