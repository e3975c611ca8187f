"""Labels: which lines are accepted, which flows they reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from demux_actions import Action, flow_table

from netsynth.demux import assign_labels, read_labels
from netsynth.errors import CaptureError

HEADER = "label,attacker_ip,start_unix,end_unix\n"
START_NS = 1_700_000_000_000_000_000  # of flow_table, which sends a packet each ms


def write(folder: Path, text: str) -> Path:
    path = folder / "attacks.csv"
    path.write_text(text)
    return path


def test_flows_in_a_window_with_the_attacker_at_one_end_get_its_label(tmp_path: Path) -> None:
    flows = flow_table([[Action("S")]] * 6)
    text = HEADER + "scan,198.51.100.2,1700000000.001,1700000000.0030\n"
    text += "flood,192.0.2.1,1700000000.003,1700000000.004\nother,192.0.2.9,0,2000000000\n"
    labelled = assign_labels(flows, read_labels(write(tmp_path, text)))
    names = [labelled.label_names[row] for row in labelled.label]
    assert names == ["", "scan", "scan", "scan", "flood", ""]
    assert labelled.label_names == ("", "scan", "flood", "other")
    assert labelled.packets is flows.packets


def test_times_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    text = HEADER + "a,::1,1700000000.000000001,1795319403.604022\n"
    labels = read_labels(write(tmp_path, text))
    assert labels.start_ns.tolist() == [START_NS + 1]
    assert labels.end_ns.tolist() == [1_795_319_403_604_022_000]
    assert labels.attackers.tolist() == [[0] * 15 + [1]]


def test_the_shipped_labels_are_read() -> None:
    labels = read_labels(Path(__file__).parents[2] / "sample_pcaps" / "office.attacks.csv")
    assert labels.names == ("portscan", "ssh_bruteforce", "syn_flood", "http_flood")
    assert bytes(labels.attackers[0]) == bytes(10) + b"\xff\xff\x0a\x4d\x00\xc8"
    assert (np.diff(labels.start_ns) > 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must be the header label,attacker_ip"),
        ("label,ip\n", "line 1 must be the header"),
        (HEADER + "a,10.0.0.1,5\n", "line 2 has 3 fields"),
        (HEADER + "\na,10.0.0.300,5,6\n", "line 3: attacker_ip '10.0.0.300' is no IP address"),
        (HEADER + ",10.0.0.1,5,6\n", "line 2: the label is empty"),
        (HEADER + "a,10.0.0.1,soon,6\n", "line 2: start_unix 'soon' is no number"),
        (HEADER + "a,10.0.0.1,5,nan\n", "line 2: end_unix 'nan' is no number"),
        (HEADER + "a,10.0.0.1,5,1e30\n", "line 2: end_unix 1e30 is out of range"),
        (HEADER + "a,10.0.0.1,7,6\n", "line 2: end_unix 6 is before start_unix 7"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(CaptureError) as caught:
        read_labels(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_an_absent_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"absent\.csv: cannot read labels"):
        read_labels(tmp_path / "absent.csv")
