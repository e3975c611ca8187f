"""The walk of series that are no packets: a file -> a fitted SeriesModel; two files -> a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsynth import __version__
from netsynth.dataset import SeriesSchema
from netsynth.errors import ConfigError, ModelError
from netsynth.progress import Progress, Silence
from netsynth.series_model import SeriesModel
from netsynth.settings import Sections, change_settings, unlike_facts

if TYPE_CHECKING:
    from netsynth.series import SeriesReport


def fit_series(
    path: Path | str,
    *,
    output: Path | str | None = None,
    generator: str = "tst",
    schema: Path | str | None = None,
    device: str = "auto",
    seed: int = 0,
    minutes: float | None = None,
    max_epochs: int | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    salvage: bool = False,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> SeriesModel:
    """Learn a model from a file of series.

    Args:
        path: A .csv, .parquet or .npz file.
        output: Model file, written at each checkpoint and at the end; None writes none.
        generator: Name in `netsynth.generate.SERIES_GENERATORS`.
        schema: Schema file; None guesses.
        device: "auto" (a CUDA GPU where there is one), "cpu" or "cuda".
        seed: Of all that is random.
        minutes: Most minutes to train.
        max_epochs: Most passes over the samples, in place of the generator's setting.
        resume: Go on with the unfinished model in `output`.
        settings: Values by key, "patch" or "doppelganger.patch".
        salvage: Leave out series with bad rows, instead of raising.
        progress: Told what is done.
        stop: Asked during training; True ends it, and what was learned so far is the model.

    Raises:
        TableError: If the file cannot be read, or rows are bad.
        ConfigError: If a setting or the schema is unknown or out of range.
        ModelError: If the model cannot be written, or `resume` finds none that fits.
    """
    from netsynth.generate import choose_device, find_series_generator
    from netsynth.series import hash_file, read_series

    progress = progress or Silence()
    sections = _settings(generator, settings, max_epochs)
    target = choose_device(device)
    progress.start(f"reading {Path(path).name}")
    dataset = read_series(path, schema=schema, salvage=salvage)
    progress.finish(f"{len(dataset):,} series")
    facts: dict[str, Any] = {
        "netsynth": __version__,
        "generator": generator,
        "seed": seed,
        "settings": {name: dataclasses.asdict(config) for name, config in sections.items()},
        "file": {
            "name": Path(path).name,
            "sha256": hash_file(path),
            "samples": len(dataset),
            "records": int(dataset.values.shape[0]),
        },
    }
    if resume:
        model = _unfinished(output, facts, dataset.schema, device=device)
    else:
        made = find_series_generator(generator)
        fresh = made(schema=dataset.schema, config=sections[generator], seed=seed)
        model = SeriesModel(schema=dataset.schema, generator=fresh.to(target), facts=facts)
    facts = model.facts

    def save(*, finished: bool) -> None:
        facts["fit"] = {"finished": finished, "outcomes": model.generator.to_parts()[0]["outcomes"]}
        if output is not None:
            model.save(output)

    stop()  # whoever waits for it knows that from now on stopping keeps what was learned
    model.generator.fit(
        dataset,
        seed=seed,
        report=_phases(progress),
        stop=stop,
        minutes=minutes,
        checkpoint=lambda: save(finished=False),
    )
    progress.finish()
    save(finished=not stop())
    return model


def retrain_metadata(
    model: Path | str,
    metadata: Path | str,
    *,
    output: Path | str,
    device: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> SeriesModel:
    """Teach a model another distribution of metadata; its series given metadata stay.

    Args:
        model: Model file.
        metadata: File of wanted metadata, see `netsynth.series.read_metadata`.
        output: Model file to write.
        device: Where to compute.
        seed: Of all that is random.
        progress: Told what is done.
        stop: Asked during training; True ends it.

    Raises:
        ModelError: If a model cannot be read or written.
        TableError: If the metadata cannot be read.
        ConfigError: If the generator learns no metadata.
    """
    from netsynth.series import hash_file, read_metadata

    progress = progress or Silence()
    found = SeriesModel.load(model, device=device)
    rows = read_metadata(metadata, found.schema)
    found.generator.retrain_metadata(rows, seed=seed, report=_phases(progress), stop=stop)
    progress.finish()
    found.facts["metadata"] = {
        "name": Path(metadata).name, "sha256": hash_file(metadata), "rows": rows.shape[0],
    }  # fmt: skip
    found.save(output)
    return found


def compare_files(
    real: Path | str,
    synthetic: Path | str,
    *,
    schema: Path | str | None = None,
    held_out: Path | str | None = None,
    seed: int = 0,
    salvage: bool = False,
) -> SeriesReport:
    """Measure how close a file of synthetic series is to one of real series.

    Args:
        real: File learned from.
        synthetic: File to judge, read with the columns of `real`.
        schema: Schema file; None guesses from `real`.
        held_out: File of real series not learned from, or None.
        seed: Of the halves and the classifiers.
        salvage: Leave out series with bad rows, instead of raising.

    Raises:
        TableError: If a file cannot be read, rows are bad, or the columns differ.
        ConfigError: If the schema is bad.
    """
    from netsynth.series import compare_series, plan_of_schema, read_schema_file, read_series

    first = read_series(real, schema=schema, salvage=salvage)
    plan = plan_of_schema(first.schema) if schema is None else read_schema_file(schema)
    others = [
        None if path is None else read_series(path, schema=plan, salvage=salvage)
        for path in (synthetic, held_out)
    ]
    assert others[0] is not None
    return compare_series(first, others[0], held_out=others[1], seed=seed)


def _unfinished(
    output: Path | str | None, facts: dict[str, Any], schema: SeriesSchema, *, device: str
) -> SeriesModel:
    """Load the model to go on with, if it is of the same file, columns, settings and seed."""
    if output is None:
        raise ConfigError("resume needs output: the model to go on with")
    model = SeriesModel.load(output, device=device)
    if model.facts["fit"]["finished"]:
        raise ModelError(f"{output} is finished; fit it anew without --resume")
    begun = unlike_facts(model.facts, facts, ("generator", "seed"))
    if model.facts["file"]["sha256"] != facts["file"]["sha256"]:
        begun.append("series")
    elif model.schema != schema:
        begun.append("columns")
    if begun:
        raise ModelError(
            f"{output} was begun with other {', '.join(begun)}; "
            "give the same to go on, or leave out --resume"
        )
    return model


def _settings(generator: str, settings: Mapping[str, Any] | None, epochs: int | None) -> Sections:
    """Settings of a generator with changes, whose keys may lack the generator's name."""
    from netsynth.generate import find_config, find_series_generator

    find_series_generator(generator)
    changes = {
        key if key.startswith(f"{generator}.") else f"{generator}.{key}": value
        for key, value in (settings or {}).items()
    }
    if epochs is not None:
        changes[f"{generator}.max_epochs"] = epochs
    return change_settings({generator: find_config(generator)()}, changes)


def _phases(progress: Progress) -> Callable[[str, float, str], None]:
    """Tell what a generator reports as phases."""
    phase = ""

    def report(level: str, share: float, text: str) -> None:
        nonlocal phase
        if level != phase:
            phase = level
            progress.start(f"training {level}", total=1.0)
        progress.update(share, note=text)

    return report
