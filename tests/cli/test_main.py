"""The command: quick help, errors in one line with the exit codes that are documented."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import netsynth_cli.main as main_module
import pytest

from netsynth import __version__
from netsynth.errors import CaptureError

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"
NETSYNTH = Path(sys.executable).with_name("netsynth")


def run_netsynth(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(NETSYNTH), *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_version_and_help_come_quickly() -> None:
    """0.3 s on an idle machine; the best of five tells it apart from a busy one."""
    best = 99.0
    for _ in range(5):
        began = time.perf_counter()
        result = run_netsynth("--help")
        best = min(best, time.perf_counter() - began)
        assert result.returncode == 0
    assert best < 0.3
    assert run_netsynth("--version").stdout == f"netsynth {__version__}\n"


@pytest.mark.parametrize("name", list(main_module.COMMANDS))
def test_every_command_has_help_for_itself_and_each_option(name: str) -> None:
    context = click.Context(main_module.netsynth)
    command = main_module.netsynth.get_command(context, name)
    assert command is not None
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"
    result = run_netsynth(name, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: netsynth {name}")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["inspect", "nowhere.pcap"], 1, "netsynth: nowhere.pcap: no such file"),
        (["inspect", "text.pcap"], 1, "netsynth: text.pcap: "),
        (["inspect", "empty.pcap"], 1, "netsynth: empty.pcap: "),
        (["fit", "nowhere.pcap"], 1, "netsynth: nowhere.pcap: no such file"),
        (["sample", "out.pcap"], 1, "netsynth: no model in this folder; fit one"),
        (["sample", "-m", "text.pcap", "o.pcap"], 1, "netsynth: text.pcap is not a netsynth model"),
        (["sample", "-m", "nowhere", "o.pcap"], 1, "netsynth: nowhere: no such model"),
        (["sample", "-n", "0", "o.pcap"], 2, "netsynth sample: Invalid value for '--packets'"),
        (["sample", "-n", "1.5", "o.pcap"], 2, "netsynth sample: Invalid value for '--packets'"),
        (["sample", "-n", "5", "--flows", "5", "o"], 2, "netsynth sample: give one of"),
        (["fit", "--set", "encode.nothing=1", "x"], 1, "netsynth: there is no setting encode.noth"),
        (["fit", "--set", "encode", "x"], 1, "netsynth: 'encode' is no setting"),
        (["fit", "--config", "no.toml", "x"], 1, "netsynth: no.toml: cannot read settings"),
        (["fit"], 2, "netsynth fit: Missing argument 'PCAP...'"),
        (["fitt"], 2, "netsynth: No such command 'fitt'"),
        (["inspect", "--nope", "x"], 2, "netsynth inspect: No such option"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    tmp_path: Path, arguments: list[str], code: int, line: str
) -> None:
    (tmp_path / "text.pcap").write_text("This is no capture, but it is long enough to be one.\n")
    (tmp_path / "empty.pcap").touch()
    result = run_netsynth(*arguments, cwd=tmp_path)
    assert result.returncode == code
    lines = [text for text in result.stderr.splitlines() if not text.endswith("...")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith(line)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CaptureError("a.pcap:\n  is broken"), 1, "netsynth: a.pcap: is broken"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "netsynth: No space left on device"),
        (PermissionError(13, "Permission denied", "/x"), 1, "netsynth: /x: Permission denied"),
        (MemoryError(), 1, "netsynth: out of memory; "),
        (KeyboardInterrupt(), 130, "netsynth: stopped"),
        (click.Abort(), 130, "netsynth: stopped"),
    ],
)
def test_each_kind_of_error_has_its_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    line: str,
) -> None:
    install_failing_command(monkeypatch, error)
    assert main_module.run(["fail"]) == code
    message = capsys.readouterr().err
    assert message.startswith(line)
    assert message.count("\n") == 1


def test_a_defect_shows_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install_failing_command(monkeypatch, ZeroDivisionError("division by zero"))
    assert main_module.run(["fail"]) == 70
    message = capsys.readouterr().err
    assert "Traceback" in message
    assert message.splitlines()[-1].startswith("netsynth: this is a defect of netsynth")


def test_a_reader_that_goes_away_is_no_error_worth_a_word() -> None:
    command = (
        f"'{NETSYNTH}' inspect -q '{OFFICE}' '{OFFICE}' --json | true; exit ${{PIPESTATUS[0]}}"
    )
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.returncode in (0, 141)  # 0: it fitted into the pipe before the reader went


def _open_files(pid: int) -> set[str]:
    """Paths that a process has open; empty where the system does not tell."""
    try:
        return {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()


def test_ctrl_c_ends_quietly(tmp_path: Path) -> None:
    fifo = tmp_path / "never.pcap"
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR)  # keeps the reader waiting for bytes that never come
    process = subprocess.Popen(
        [str(NETSYNTH), "inspect", "-q", str(fifo)],
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs, and what they start, ignore the signal
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(600):  # until it reads: before that, an import may swallow the signal
        if str(fifo) in _open_files(process.pid):
            break
        time.sleep(0.1)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=20)
    os.close(holder)
    assert process.returncode == 130
    assert message == "netsynth: stopped\n"


def install_failing_command(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Add a command `fail` that raises `error`."""

    @click.command("fail")
    def fail() -> None:
        raise error

    monkeypatch.setattr(main_module, "fail", fail, raising=False)
    monkeypatch.setitem(main_module.COMMANDS, "fail", "netsynth_cli.main:fail")
