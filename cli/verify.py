"""`netsynth verify`: would intrusion detection take a capture as live traffic?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .progress_bar import make_progress

if TYPE_CHECKING:
    from netsynth.progress import Progress
    from netsynth.tables import FlowTable
    from netsynth.verify import FileFacts


@click.command("verify")
@click.argument("capture", metavar="CAPTURE", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--against",
    "real",
    metavar="REAL",
    type=click.Path(exists=True, dir_okay=False),
    help="The real capture: shares are judged beside its own.",
)
@click.option(
    "--with",
    "wanted",
    metavar="NAME",
    multiple=True,
    help="An analyser that must be asked: capinfos, tcpprep, tshark, suricata, ndpiReader. "
    "Default: whichever are installed.",
)
@click.option(
    "--without", "unwanted", metavar="NAME", multiple=True, help="An analyser to leave out, or all."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
def verify(
    capture: str,
    real: str | None,
    wanted: tuple[str, ...],
    unwanted: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Say whether intrusion detection would take CAPTURE as live traffic.

    Follows every TCP connection, and asks the analysers that are installed: capinfos, tcpprep,
    tshark, Suricata and nDPI. Exits with status 1 if a check fails.
    """
    from netsynth.verify import PROGRAMS, as_dict, choose_programs, examine, judge, verdict_table

    unwanted = tuple(PROGRAMS) if "all" in unwanted else unwanted
    programs = choose_programs(wanted, unwanted)
    progress = make_progress(quiet=quiet)
    found = [
        examine(*_read(path, progress), programs=programs, is_real=is_real, progress=progress)
        for path, is_real in ((capture, False), (real, True))
        if path is not None
    ]
    report = judge(found[0], found[1] if real is not None else None)
    if as_json:
        click.echo(json.dumps(as_dict(report), indent=1, allow_nan=False))
    else:
        click.echo(verdict_table(report))
    return 0 if report.passed else 1


def _read(path: str, progress: Progress) -> tuple[FlowTable, FileFacts]:
    from netsynth.capture import read_capture
    from netsynth.demux import assemble_flows
    from netsynth.verify import FileFacts

    progress.start(f"reading {Path(path).name}")
    packets, info = read_capture(path)
    progress.finish()
    return assemble_flows(packets), FileFacts(
        path=Path(path),
        frames=info.frame_count,
        late=info.out_of_order_count,
        cut=info.truncated_count,
        bad_checksums=info.bad_ip_checksum_count + info.bad_l4_checksum_count,
    )
