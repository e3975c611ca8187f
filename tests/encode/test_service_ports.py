"""Ports that hosts choose for data: none is one that an analyser takes for a service."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from netsynth.encode.port_allocator import PortAllocator
from netsynth.encode.service_ports import own_ports
from netsynth.encode.source_ports import FIRST_PAIR_STEP, NOWHERE, PAIR_STEPS, SourcePortCodec
from netsynth.encode.vocabulary import Vocabulary


def test_a_services_port_gives_way_to_the_next_as_even() -> None:
    """Of 3127 to 3132 those that are even are services, as are 44321 and 44322."""
    own = own_ports()
    assert own[[3127, 3128, 3129, 3130, 3132, 44_321, 44_322]].tolist() == [
        3127, 3134, 3129, 3134, 3134, 44_323, 44_324
    ]  # fmt: skip
    assert own[[0, 53, 443, 1023, 49_152, 65_535]].tolist() == [0, 53, 443, 1023, 49_152, 65_535]
    assert np.all((own - np.arange(65_536)) % 2 == 0)


@pytest.mark.parametrize("talks", [False, True])
def test_only_a_counter_of_flows_with_data_steps_over_services(talks: bool) -> None:
    """A counter by two from 2944 .. 3071 on passes 3128, 3130 and 3132."""
    step = FIRST_PAIR_STEP + PAIR_STEPS.index(2)
    once = np.ones(1, dtype=np.int64)
    first = Vocabulary(rows=np.array([[0, 0, 0, 23 * 2]]), counts=once)
    named = Vocabulary(rows=np.zeros((1, 1), dtype=np.int64), counts=once)
    codec = SourcePortCodec(named=named, starts=first, jumps=NOWHERE)
    count = 100
    ports, _, _ = PortAllocator(codec=codec).allocate(
        np.full(count, step),
        host=np.ones(count, dtype=np.int64),
        peer=np.full(count, 2),
        protocol=np.full(count, 6),
        responder_port=np.full(count, 80),
        other_ports=np.full((count, 2), 80),
        keys=np.zeros((count, 3), dtype=np.int64),
        rng=np.random.default_rng(0),
        talks=np.full(count, talks),
    )
    passed = {3128, 3130, 3132} & set(ports.tolist())
    assert ports[0] < 3128 < ports[-1]
    assert len(set(ports.tolist())) == count
    assert passed == (set() if talks else {3128, 3130, 3132})


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_all_that_tshark_knows_are_left_out() -> None:
    command = ["tshark", "-G", "decodes"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    known = {int(row[1]) for row in rows if row[0] in ("tcp.port", "udp.port")}
    chosen = set(np.unique(own_ports()[1024:]).tolist())
    missed = {port for port in known & chosen if port >= 1024}
    assert len(missed) <= 0.1 * len(known), missed  # later versions know more
