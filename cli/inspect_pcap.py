"""`netsynth inspect`: what a capture holds, as a fit would see it."""

from __future__ import annotations

import click

from .progress_bar import make_progress


@click.command("inspect")
@click.argument("paths", metavar="PCAP...", nargs=-1, required=True)
@click.option("--salvage", is_flag=True, help="Read on past damaged records, and say how many.")
@click.option("--decapsulate", is_flag=True, help="Look inside GRE, IP-in-IP and VXLAN.")
@click.option("--labels", metavar="CSV", help="Windows of labelled traffic; counts their flows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
def inspect_pcap(
    paths: tuple[str, ...],
    salvage: bool,
    decapsulate: bool,
    labels: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what captures hold: packets, flows, protocols, hosts, time and flaws.

    PCAP is a file (pcap or pcapng, gzip or zstd), a folder, a pattern, a rotation set, or - for
    standard input. Several are read as one capture.
    """
    from netsynth.pipeline import summarise  # late: --help stays fast

    progress = make_progress(quiet=quiet)
    summary = summarise(
        paths, salvage=salvage, decapsulate=decapsulate, labels=labels, progress=progress
    )
    click.echo(summary.to_json() if as_json else summary.to_table())
