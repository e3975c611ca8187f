"""Compiled packets as a capture, and what tshark finds wrong with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from netsynth.capture import CaptureWriter
from netsynth.demux import CompiledPackets


def write(compiled: CompiledPackets, path: Path) -> Path:
    """Write a capture of `compiled` to `path`."""
    with CaptureWriter(path) as writer:
        writer.write(
            compiled.packets,
            prefix=compiled.prefix,
            prefix_start=compiled.prefix_start,
            prefix_length=compiled.prefix_length,
        )
    return path


def malformed(path: Path) -> list[str]:
    """Return what tshark finds malformed."""
    command = ["tshark", "-r", str(path), "-Y", "_ws.malformed"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
