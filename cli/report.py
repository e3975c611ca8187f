"""`netsynth report`: how close synthetic captures are to a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netsynth.errors import ConfigError

from . import series
from .progress_bar import make_progress

if TYPE_CHECKING:
    from netsynth.report import FidelityReport

EXIT_OVER = 3


@click.command()
@click.argument("real", metavar="REAL")
@click.argument("synthetic", metavar="[SYNTHETIC...]", nargs=-1)
@click.option("-o", "--output", metavar="DIR", help="Write report.html, report.json, figures/.")
@click.option("--floor", is_flag=True, help="Say what real against real scores, too or alone.")
@click.option("--baselines", is_flag=True, help="Also judge four trivial generators.")
@click.option("--quick", is_flag=True, help="No intervals, forecasts or anomaly detection.")
@click.option("--held-out", metavar="PCAP", help="Real traffic that the model was not fitted on.")
@click.option("--labels", metavar="CSV", help="Windows of labelled traffic in REAL.")
@click.option(
    "--synthetic-labels", metavar="CSV", multiple=True, help="And in each SYNTHETIC, in order."
)
@click.option("--family", "families", metavar="NAME", multiple=True, help="Only these families.")
@click.option(
    "--fail-over",
    metavar="RATIO",
    type=click.FloatRange(min=0, min_open=True),
    help="For CI: exit with status 3, and say why in one line a capture on stderr, if a family's"
    " ratio to the floor is larger; and in any case if REAL leaks into SYNTHETIC, or if SYNTHETIC"
    " lacks what is to be measured.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of the halves compared and of the classifiers.",
)
@click.option("--salvage", is_flag=True, help="Read on past damaged records.")
@click.option("--schema", metavar="TOML", help="Columns of files of series; guessed by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--table", is_flag=True, help="Print every figure, not the verdicts alone.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
def report(
    real: str,
    synthetic: tuple[str, ...],
    output: str | None,
    floor: bool,
    baselines: bool,
    quick: bool,
    held_out: str | None,
    labels: str | None,
    synthetic_labels: tuple[str, ...],
    families: tuple[str, ...],
    fail_over: float | None,
    seed: int,
    salvage: bool,
    schema: str | None,
    as_json: bool,
    table: bool,
    quiet: bool,
) -> int:
    """Say how close SYNTHETIC captures are to a REAL one.

    One verdict a family, worst first. Ratios are to the floor: what one half of REAL scores
    against the other, so that 1 is as good as real traffic. Families without a ratio (C2ST,
    privacy, validity, labels) have a number in its place: 1 is as real, good ends at 1.5, fair
    at 3. REAL may also be a .npz, .csv or .parquet file of series (docs/series.md).
    """
    if series.names_series(real):
        series.refuse_options(
            {
                "--fail-over": fail_over is not None,
                "--baselines": baselines,
                "--labels": labels is not None,
                "--synthetic-labels": bool(synthetic_labels),
                "--family": bool(families),
            }
        )
        return series.report_series(
            real, synthetic, output=output, schema=schema, held_out=held_out, seed=seed,
            salvage=salvage, as_json=as_json,
        )  # fmt: skip
    from netsynth.reading import read_traffic
    from netsynth.report import baseline_captures, compare, floor_report, refer_to, write_report

    if not synthetic and not floor and not baselines:
        raise click.UsageError("give a SYNTHETIC capture, --floor or --baselines")
    if synthetic_labels and len(synthetic_labels) != len(synthetic):
        raise click.UsageError("give --synthetic-labels once for each SYNTHETIC")
    progress = make_progress(quiet=quiet)
    tables, facts = read_traffic(real, labels, salvage=salvage, progress=progress)
    unseen = None
    if held_out is not None:
        unseen = read_traffic(held_out, None, salvage=salvage, progress=progress)[0]
    reference = refer_to(tables, seed=seed, facts=facts, held_out=unseen)
    wanted = families or None
    reports = []
    for place, path in enumerate(synthetic):
        windows = synthetic_labels[place] if synthetic_labels else None
        other, about = read_traffic(path, windows, salvage=salvage, progress=progress)
        reports.append(
            compare(
                reference,
                other,
                families=wanted,
                seed=seed,
                quick=quick,
                synthetic_facts=about,
                progress=progress,
            )
        )
    judged = len(reports)
    if floor:
        reports.append(
            floor_report(reference, families=wanted, seed=seed, quick=quick, progress=progress)
        )
    if baselines:
        for baseline, about in baseline_captures(reference, seed=seed):
            reports.append(
                compare(
                    reference,
                    baseline,
                    families=wanted,
                    seed=seed,
                    quick=quick,
                    synthetic_facts=about,
                    progress=progress,
                )
            )
    page = write_report(reports, output) if output is not None else None
    _show(reports, as_json=as_json, table=table, page=page)
    return _exit_status(reports[:judged], fail_over)


def _show(reports: list[FidelityReport], *, as_json: bool, table: bool, page: Path | None) -> None:
    from netsynth.report import report_dict, verdict_text

    if as_json:
        click.echo(json.dumps(report_dict(reports, brief=True), indent=1, allow_nan=False))
        return
    click.echo(verdict_text(reports))
    if table:
        for found in reports:
            click.echo(f"\n{found.details['synthetic']}\n{found.summary()}")
    if page is not None:
        click.echo(f"\nall figures: {page}")


def _exit_status(reports: list[FidelityReport], fail_over: float | None) -> int:
    if fail_over is None:
        return 0
    if not reports:
        raise ConfigError("--fail-over needs a SYNTHETIC capture")
    from netsynth.report import shortfalls

    status = 0
    for found in reports:
        reasons = shortfalls(found, limit=fail_over)
        if reasons:
            click.echo(f"{found.details['synthetic']}: {'; '.join(reasons)}", err=True)
            status = EXIT_OVER
    return status
