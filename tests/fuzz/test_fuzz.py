"""A small part of the fuzzing that `fuzz_capture.py` does by the million."""

import os
import subprocess
import sys
from pathlib import Path

INPUTS = os.environ.get("NETSYNTH_FUZZ", "4000")


def test_damaged_captures_neither_crash_nor_hang_nor_eat_memory(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("fuzz_capture.py"))]
    alone = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}  # tests beside it compile, too
    subprocess.run([*command, "--inputs", "0"], capture_output=True, check=True, env=alone)
    result = subprocess.run(
        [*command, "--inputs", INPUTS, "--seed", "11"],
        capture_output=True,
        text=True,
        check=False,
        env=alone,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert f"{INPUTS} inputs" in result.stderr
