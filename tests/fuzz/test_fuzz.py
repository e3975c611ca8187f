"""A small part of the fuzzing that `fuzz_capture.py` does by the million."""

import os
import subprocess
import sys
from pathlib import Path

INPUTS = os.environ.get("NETSYNTH_FUZZ", "4000")


def test_damaged_captures_neither_crash_nor_hang_nor_eat_memory() -> None:
    command = [sys.executable, str(Path(__file__).with_name("fuzz_capture.py"))]
    subprocess.run([*command, "--inputs", "0"], capture_output=True, check=True)  # compiles
    result = subprocess.run(
        [*command, "--inputs", INPUTS, "--seed", "11"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert f"{INPUTS} inputs" in result.stderr
