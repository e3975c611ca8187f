"""`netsynth config`: every hyperparameter, its default and its meaning."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click


@click.command("config")
@click.option(
    "--generator",
    default="transformer",
    show_default=True,
    help="Whose settings to list beside those of flows and encoding.",
)
@click.option("--toml", "as_toml", is_flag=True, help="Print a file for `fit --config`.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def config(generator: str, as_toml: bool, as_json: bool) -> None:
    """List every setting that `fit` takes by --set or --config.

    The first line names the generators there are.
    """
    from netsynth.generate import GENERATORS
    from netsynth.pipeline import default_settings
    from netsynth.settings import list_settings

    settings = list(list_settings(default_settings(generator)))
    if as_json:
        rows = [dataclasses.asdict(setting) for setting in settings]
        click.echo(json.dumps(rows, indent=2, default=list))
        return
    if as_toml:
        for setting in settings:
            value = format_toml(setting.default)
            line = f"{setting.key} = {value}" if value else f"# {setting.key} ="
            click.echo(f"{line}  # {setting.meaning}" if setting.meaning else line)
        return
    click.echo(f"generators: {', '.join(GENERATORS)} (fit --generator NAME)\n")
    width = max(len(setting.key) for setting in settings)
    for setting in settings:
        default = "none" if setting.default is None else str(setting.default)
        click.echo(f"{setting.key:<{width}}  {default:<10}  {setting.meaning}".rstrip())


def format_toml(value: Any) -> str:
    """Write a default as TOML; "" for None, which TOML cannot say."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(format_toml(item) for item in value)}]"
    return json.dumps(value)
