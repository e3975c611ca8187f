"""`netsynth sample`: writes a capture from a model."""

from __future__ import annotations

from pathlib import Path

import click

from . import series
from .progress_bar import make_progress
from .quantities import CountType, DurationType, Rate, RateType


@click.command("sample")
@click.argument("output", metavar="OUT")
@click.option(
    "--packets",
    "-n",
    type=CountType(),
    metavar="N",
    help="Packets (or, of a model of series, series) to write: 1000000, 1_000_000, 1e6, 250k, 3M. "
    "Default, where neither --flows nor --duration is given: as many as were learned.",
)
@click.option("--flows", type=CountType(), metavar="N", help="Flows to write, instead of -n.")
@click.option(
    "--duration",
    "duration_ns",
    type=DurationType(),
    metavar="TIME",
    help="How long a trace to write: 90s, 5m, 1h30m; instead of -n.",
)
@click.option(
    "--rate",
    type=RateType(),
    metavar="RATE",
    help="2x: twice the learned rate; 5000: packets per second.",
)
@click.option(
    "--model",
    "-m",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Model to sample; default: the newest .netsynth file here.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Same model, options and seed: same bytes.",
)
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only flows of this kind, such as label=portscan; may be repeated.",
)
@click.option(
    "--weight",
    "weightings",
    multiple=True,
    metavar="CLASS=FACTOR",
    help="Make flows of a class likelier: elephant, mouse or label:NAME (cascade only); "
    "may be repeated.",
)
@click.option(
    "--keep-addresses", is_flag=True, help="Write the learned addresses instead of fresh ones."
)
@click.option(
    "--timestamps",
    type=click.Choice(["ml", "eq", "sp"]),
    default="ml",
    show_default=True,
    help="Times in a step: as learned; even; even in its busy part.",
)
@click.option(
    "--payload",
    type=click.Choice(["templates", "zero", "random", "none"]),
    default="templates",
    show_default=True,
    help="What payloads hold: first messages of the application, zeros, noise.",
)
@click.option(
    "--snaplen",
    type=click.IntRange(1, 262_144),
    metavar="BYTES",
    help="Cut each frame to this length; default: whole frames.",
)
@click.option(
    "--arp",
    is_flag=True,
    help="Let hosts of a segment ask for each other's address (ARP) before they speak; these "
    "frames come on top of -n.",
)
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Metadata that the series are to have, a row each (models of series).",
)
@click.option(
    "--length",
    type=click.IntRange(1),
    metavar="N",
    help="Records of every series (models of series).",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a CUDA GPU if there is one.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Say what was written as a JSON object (on stderr where OUT is -).",
)
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
def sample(
    output: str,
    packets: int | None,
    flows: int | None,
    duration_ns: int | None,
    rate: Rate | None,
    model: Path | None,
    seed: int,
    conditions: tuple[str, ...],
    weightings: tuple[str, ...],
    keep_addresses: bool,
    timestamps: str,
    payload: str,
    snaplen: int | None,
    arp: bool,
    metadata: Path | None,
    length: int | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a capture that behaves like the one a model was fitted to.

    OUT is a pcap file, or - for standard output: netsynth sample -n 1e6 - | tcpreplay -i eth0 -
    Of a model of series, OUT is a .csv, .parquet or .npz file (docs/series.md).
    """
    from netsynth.errors import ConfigError
    from netsynth.pipeline import find_model, load_model  # late: --help stays fast

    if sum(limit is not None for limit in (packets, flows, duration_ns)) > 1:
        raise click.UsageError("give one of --packets, --flows and --duration")
    where: dict[str, str] = {}
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where {condition} is no condition; write it as key=value")
        where[key.strip()] = value.strip()
    weights = dict(parse_weight(text) for text in weightings)
    if model is None:
        model, count = find_model(Path())
        if not quiet:
            click.echo(
                f"using {model}" + (f", the newest of {count}" if count > 1 else ""), err=True
            )
    if series.names_series(output) or metadata is not None or length is not None:
        if flows is not None or duration_ns is not None:
            raise ConfigError("of a model of series, say how many with -n")
        series.refuse_options(
            {
                "--rate": rate is not None,
                "--weight": bool(weightings),
                "--keep-addresses": keep_addresses,
                "--timestamps": timestamps != "ml",
                "--payload": payload != "templates",
                "--snaplen": snaplen is not None,
                "--arp": arp,
            }
        )
        series.sample_series(
            model,
            output,
            count=packets,
            metadata=metadata,
            where=where,
            length=length,
            device=device,
            seed=seed,
            as_json=as_json,
            quiet=quiet,
        )
        return
    summary = load_model(model, device=device).sample(
        output,
        packets=packets,
        flows=flows,
        duration_ns=duration_ns,
        rate=rate.factor if rate else None,
        packets_per_s=rate.packets_per_second if rate else None,
        seed=seed,
        where=where,
        weights=weights,
        keep_addresses=keep_addresses,
        timestamps=timestamps,
        payload=payload,
        snaplen=snaplen,
        arp=arp,
        progress=make_progress(quiet=quiet),
    )
    if as_json:
        click.echo(summary.to_json(), err=output == "-")
    elif not quiet:
        click.echo(summary.describe(), err=True)


def parse_weight(text: str) -> tuple[str, float]:
    """Split CLASS=FACTOR.

    Raises:
        ConfigError: If there is no "=", or no number behind it.
    """
    from netsynth.errors import ConfigError

    name, equals, factor = text.partition("=")
    try:
        if equals and name.strip():
            return name.strip(), float(factor)
    except ValueError:
        pass
    raise ConfigError(f"--weight {text} is no weight; write it as elephant=3")
