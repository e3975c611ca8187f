"""What `fit`, `sample` and `report` do where their files hold series instead of packets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netsynth.errors import ConfigError

from .progress_bar import make_progress

if TYPE_CHECKING:
    from netsynth.series_model import SeriesModel

SUFFIXES = (".npz", ".csv", ".parquet")
DEFAULT_GENERATOR = "tst"  # in place of "transformer", which learns packets


def names_series(path: Path | str) -> bool:
    """Whether a file is one of series, going by its ending."""
    return Path(path).suffix.lower() in SUFFIXES


def default_output(path: str) -> Path:
    """Name the model of a file of series: its name, in the current folder, as .netsynth."""
    return Path(f"{Path(path).stem}.netsynth")


def refuse_options(given: Mapping[str, bool]) -> None:
    """Refuse options that mean nothing for series, by their name and whether they were given."""
    for name, is_given in given.items():
        if is_given:
            raise click.UsageError(f"{name} is for captures, not for series (docs/series.md)")


def fit_series(
    paths: Sequence[str],
    *,
    output: Path | None,
    generator: str,
    schema: Path | None,
    device: str,
    seed: int,
    minutes: float | None,
    max_epochs: int | None,
    resume: bool,
    settings: dict[str, Any],
    salvage: bool,
    as_json: bool,
    quiet: bool,
    stop: Callable[[], bool],
) -> None:
    """Fit a model of series, and say which columns were guessed."""
    from netsynth.series import format_schema
    from netsynth.series_fit import fit_series

    if len(paths) != 1:
        raise ConfigError("fit one file of series at a time")
    target = output or default_output(paths[0])
    model = fit_series(
        paths[0],
        output=target,
        generator=DEFAULT_GENERATOR if generator == "transformer" else generator,
        schema=schema,
        device=device,
        seed=seed,
        minutes=minutes,
        max_epochs=max_epochs,
        resume=resume,
        settings=settings,
        salvage=salvage,
        progress=make_progress(quiet=quiet),
        stop=stop,
    )
    if schema is None and not quiet:
        click.echo(
            f"columns as guessed; to correct them, save this and pass it as --schema:\n\n"
            f"{format_schema(model.schema)}",
            err=True,
        )
    click.echo(model.to_json() if as_json else f"{target}: {model.describe()}")


def retrain_metadata(
    paths: Sequence[str],
    metadata: Path,
    *,
    output: Path | None,
    device: str,
    seed: int,
    as_json: bool,
    quiet: bool,
    stop: Callable[[], bool],
) -> None:
    """Teach a fitted model another distribution of metadata."""
    from netsynth.series_fit import retrain_metadata

    if len(paths) != 1 or Path(paths[0]).suffix != ".netsynth":
        raise ConfigError("--metadata retrains a fitted model: netsynth fit MODEL --metadata CSV")
    if output is None:
        raise ConfigError("name the model to write with --output")
    model: SeriesModel = retrain_metadata(
        paths[0],
        metadata,
        output=output,
        device=device,
        seed=seed,
        progress=make_progress(quiet=quiet),
        stop=stop,
    )
    click.echo(model.to_json() if as_json else f"{output}: {model.describe()}")


def sample_series(
    model: Path,
    output: str,
    *,
    count: int | None,
    metadata: Path | None,
    where: dict[str, str],
    length: int | None,
    device: str,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write series from a model of them."""
    from netsynth.series_model import SeriesModel

    summary = SeriesModel.load(model, device=device).sample(
        output,
        count=count,
        seed=seed,
        metadata=metadata,
        where=where,
        length=length,
        progress=make_progress(quiet=quiet),
    )
    if as_json:
        click.echo(summary.to_json())
    elif not quiet:
        click.echo(summary.describe(), err=True)


def report_series(
    real: str,
    synthetic: Sequence[str],
    *,
    output: str | None,
    schema: str | None,
    held_out: str | None,
    seed: int,
    salvage: bool,
    as_json: bool,
) -> int:
    """Say how close files of synthetic series are to one of real series; return 0."""
    from netsynth.series_fit import compare_files

    if not synthetic:
        raise click.UsageError("give a SYNTHETIC file of series")
    reports = {
        path: compare_files(
            real, path, schema=schema, held_out=held_out, seed=seed, salvage=salvage
        )
        for path in synthetic
    }
    content = {path: found.to_dict() for path, found in reports.items()}
    text = json.dumps(content, indent=1, allow_nan=False)
    if output is not None:
        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(text, encoding="utf-8")
    if as_json:
        click.echo(text)
        return 0
    for path, found in reports.items():
        click.echo(f"{path} beside {real}\n{found.summary()}")
    return 0
