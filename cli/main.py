"""The `netsynth` command: finds the subcommands, and turns errors into one line and an exit code.

Exit codes:
    0    done
    1    an error that the line on stderr explains (file, memory, disk, model, capture), or
         `verify` found that a check fails
    2    the command line itself is wrong
    3    a report found the captures too far apart (--fail-over)
    70   a defect of netsynth; a traceback says where
    130  stopped by Ctrl-C
    141  whoever read our output went away (as for any program in a pipe)
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from netsynth import __version__
from netsynth.errors import NetsynthError

EXIT_ERROR, EXIT_USAGE, EXIT_DEFECT, EXIT_INTERRUPTED, EXIT_PIPE = 1, 2, 70, 130, 141

# Command -> module:attribute, imported when the command runs or its help line is asked for.
COMMANDS = {
    "inspect": "netsynth_cli.inspect_pcap:inspect_pcap",
    "fit": "netsynth_cli.fit:fit",
    "sample": "netsynth_cli.sample:sample",
    "report": "netsynth_cli.report:report",
    "verify": "netsynth_cli.verify:verify",
    "config": "netsynth_cli.config:config",
}


class Ended(Exception):  # noqa: N818
    """Ctrl-C or a closed pipe, under a name that click does not handle in its own way."""


class LazyGroup(click.Group):
    """A click group whose commands live in modules that are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command, and keep two errors from click, which would print or swallow them."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, BrokenPipeError) as error:
            raise Ended from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="netsynth %(version)s")
def netsynth() -> None:
    """Learn traffic from a packet capture, and write a new one that behaves like it.

    \b
    netsynth fit trace.pcap                  learns trace.netsynth
    netsynth sample -n 1e6 out.pcap          writes a million packets
    netsynth report trace.pcap out.pcap      says how close they are
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with one of the exit codes above."""
    code = run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()
        code = code or EXIT_PIPE
    ahead = sys.modules.get("netsynth.ahead")
    if ahead is not None and ahead.is_working():  # on a window that is not wanted any more
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return its exit code, having said on stderr what went wrong."""
    try:
        result = netsynth.main(args=list(arguments), prog_name="netsynth", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.UsageError as error:
        return _complain_usage(error)
    except click.ClickException as error:
        return _complain(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return _complain("stopped", EXIT_INTERRUPTED)
    except Ended as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            return _complain("stopped", EXIT_INTERRUPTED)
        _close_stdout()
        return EXIT_PIPE
    except NetsynthError as error:
        if isinstance(error.__cause__, BrokenPipeError):
            _close_stdout()
            return EXIT_PIPE
        return _complain(str(error))
    except MemoryError:
        return _complain("out of memory; fit a shorter capture, or sample on a larger machine")
    except OSError as error:
        return _complain(_explain(error))
    except Exception as error:
        return _complain_exception(error)
    return result if isinstance(result, int) else 0


def _explain(error: OSError) -> str:
    """Say which file an OSError is about, and what is wrong with it."""
    reason = error.strerror or str(error) or type(error).__name__
    name = error.filename if error.filename is not None else ""
    return f"{os.fsdecode(name)}: {reason}" if name else reason


def _complain_exception(error: Exception) -> int:
    """Tell exhausted memory of a GPU from a defect of ours."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's
        return _complain("out of memory on the device; try --device cpu, or a smaller model")
    traceback.print_exc()
    return _complain("this is a defect of netsynth, not of your input; please report it", 70)


def _complain_usage(error: click.UsageError) -> int:
    path = error.ctx.command_path if error.ctx is not None else "netsynth"
    _print_error(f"{path}: {_one_line(error.format_message())} (see {path} --help)")
    return EXIT_USAGE


def _complain(message: str, code: int = EXIT_ERROR) -> int:
    _print_error(f"netsynth: {_one_line(message)}")
    return code


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _print_error(line: str) -> None:
    try:
        erase = "\r\x1b[K" if sys.stderr.isatty() else ""  # a progress line may stand there
        click.echo(erase + line, err=True)
    except OSError:  # stderr is gone: the exit code alone tells
        return


def _close_stdout() -> None:
    """Point stdout nowhere, so that the interpreter's last flush stays quiet."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
