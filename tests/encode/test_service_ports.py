"""Ports that hosts choose: none is one that an analyser takes for a service."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from netsynth.encode.port_places import draw_ports
from netsynth.encode.service_ports import own_ports


def test_a_services_port_gives_way_to_the_next_as_even() -> None:
    """Of 3127 to 3132 those that are even are services, as are 44321 and 44322."""
    own = own_ports()
    assert own[[3127, 3128, 3129, 3130, 3132, 44_321, 44_322]].tolist() == [
        3127, 3134, 3129, 3134, 3134, 44_323, 44_324
    ]  # fmt: skip
    assert own[[0, 53, 443, 1023, 49_152, 65_535]].tolist() == [0, 53, 443, 1023, 49_152, 65_535]
    assert np.all((own - np.arange(65_536)) % 2 == 0)


def test_drawn_ports_are_no_services() -> None:
    drawn = draw_ports(np.arange(8, 1024).repeat(50), np.random.default_rng(1))
    assert np.array_equal(own_ports()[drawn], drawn)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_all_that_tshark_knows_are_left_out() -> None:
    command = ["tshark", "-G", "decodes"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    known = {int(row[1]) for row in rows if row[0] in ("tcp.port", "udp.port")}
    chosen = set(np.unique(own_ports()[1024:]).tolist())
    missed = {port for port in known & chosen if port >= 1024}
    assert len(missed) <= 0.1 * len(known), missed  # later versions know more
