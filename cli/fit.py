"""`netsynth fit`: learns a model from captures."""

from __future__ import annotations

import signal
import types
from pathlib import Path
from typing import Any

import click

from . import series
from .main import EXIT_INTERRUPTED
from .progress_bar import make_progress


class StopSignal:
    """Ctrl-C as a polite request: ends the training, which then keeps what it has.

    Until somebody has asked for it (training has begun), nothing is there to keep, and Ctrl-C
    interrupts at once; so does the second one.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._was_asked = False

    def __call__(self) -> bool:
        """Say if the user wants to stop."""
        self._was_asked = True
        return self.is_set

    def __enter__(self) -> StopSignal:
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        if self.is_set or not self._was_asked:
            raise KeyboardInterrupt
        self.is_set = True
        click.echo("\nstopping and saving; press Ctrl-C again to stop without", err=True)


@click.command("fit")
@click.argument("captures", metavar="PCAP...", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Model to write; default: NAME.netsynth here for NAME.pcap.",
)
@click.option(
    "--generator",
    default="transformer",
    show_default="transformer; of series, tst",
    help="Kind of model: `netsynth config` lists them.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train; auto takes a CUDA GPU if there is one.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Same captures, settings and seed: same model.",
)
@click.option(
    "--labels",
    metavar="CSV",
    help="Windows of labelled traffic: label,attacker_ip,start_unix,end_unix.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Train for M minutes at most; by default until held-out likelihood stops rising.",
)
@click.option(
    "--max-epochs", type=click.IntRange(1), metavar="N", help="See every flow N times at most."
)
@click.option("--resume", is_flag=True, help="Go on with a fit that was stopped.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="File of settings; `netsynth config --toml` prints one to start from.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="One setting, such as encode.series.step_count=100; may be repeated.",
)
@click.option("--salvage", is_flag=True, help="Read on past damaged records, and say how many.")
@click.option("--decapsulate", is_flag=True, help="Learn what is inside GRE, IP-in-IP and VXLAN.")
@click.option(
    "--schema",
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="Columns of a file of series; guessed, and printed, by default.",
)
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Retrain a model of series to these metadata: fit MODEL --metadata CSV -o NEW.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was fitted as a JSON object.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
def fit(
    captures: tuple[str, ...],
    output: Path | None,
    generator: str,
    device: str,
    seed: int,
    labels: str | None,
    minutes: float | None,
    max_epochs: int | None,
    resume: bool,
    config_path: Path | None,
    assignments: tuple[str, ...],
    salvage: bool,
    decapsulate: bool,
    schema: Path | None,
    metadata: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Learn a model from captures, and write it as one .netsynth file.

    PCAP is a file (pcap or pcapng, gzip or zstd), a folder, a pattern, or a rotation set. Several
    are learned together. Training ends by itself; Ctrl-C ends it early and keeps the model.
    A .npz, .csv or .parquet file is one of series that are no packets (docs/series.md).
    """
    from netsynth import pipeline  # late: --help stays fast
    from netsynth.settings import parse_assignment, read_settings

    changes = read_settings(config_path) if config_path else {}
    changes |= dict(parse_assignment(text) for text in assignments)
    if metadata is not None or any(series.names_series(path) for path in captures):
        shared: dict[str, Any] = {
            "output": output, "device": device, "seed": seed, "as_json": as_json, "quiet": quiet,
        }  # fmt: skip
        with StopSignal() as stop:
            if metadata is not None:
                series.retrain_metadata(captures, metadata, stop=stop, **shared)
            else:
                series.refuse_options(
                    {"--labels": labels is not None, "--decapsulate": decapsulate}
                )
                series.fit_series(
                    captures,
                    generator=generator,
                    schema=schema,
                    minutes=minutes,
                    max_epochs=max_epochs,
                    resume=resume,
                    settings=changes,
                    salvage=salvage,
                    stop=stop,
                    **shared,
                )
        if stop.is_set and metadata is None:
            _tell_stopped(output or series.default_output(captures[0]))
        return EXIT_INTERRUPTED if stop.is_set else 0
    target = output or default_output(captures[0])
    with StopSignal() as stop:
        model = pipeline.fit(
            captures,
            output=target,
            generator=generator,
            device=device,
            seed=seed,
            labels=labels,
            minutes=minutes,
            max_epochs=max_epochs,
            resume=resume,
            settings=changes,
            salvage=salvage,
            decapsulate=decapsulate,
            progress=make_progress(quiet=quiet),
            stop=stop,
        )
    click.echo(model.to_json() if as_json else f"{target}: {model.describe()}")
    if stop.is_set:
        _tell_stopped(target)
        return EXIT_INTERRUPTED
    return 0


def _tell_stopped(target: Path) -> None:
    click.echo(
        f"stopped; {target} holds what was learned so far; the same command with --resume goes on",
        err=True,
    )


def default_output(capture: str) -> Path:
    """Name the model of a capture: its name, in the current folder, as .netsynth."""
    name = Path(capture).name
    for suffix in (".gz", ".zst", ".pcap", ".pcapng", ".cap"):
        name = name.removesuffix(suffix)
    return Path(f"{name.strip('-*?') or 'model'}.netsynth")
