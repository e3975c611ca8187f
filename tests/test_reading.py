"""Captures longer than what is learned of one: windows fall where the codec cuts them."""

from pathlib import Path

import numpy as np
import pytest

from netsynth.capture import LatePacketsError, iter_capture, read_capture
from netsynth.demux import DemuxConfig, assemble_flows, census_of
from netsynth.encode import EncodeConfig
from netsynth.encode.windows import cut_windows
from netsynth.progress import Silence
from netsynth.reading import learned_part, read_census
from netsynth.settings import change_settings

OFFICE = Path(__file__).parents[1] / "sample_pcaps" / "office.pcap"
SECTIONS = change_settings(
    {"demux": DemuxConfig(), "encode": EncodeConfig()},
    {"demux.learned_packets": 20_000, "encode.series.window_packets": 5_000},
)


def test_learned_windows_hold_all_packets_of_their_time() -> None:
    flows = assemble_flows(read_capture(OFFICE)[0])
    every_ns = np.sort(flows.packets.time_ns)
    tables = [flows]
    kept, sections = learned_part(tables, SECTIONS, progress=Silence())
    assert tables == []
    assert len(kept[0].packets) <= 20_000
    windows = cut_windows(kept[0], window_ns=sections["encode"].series.window_ns)
    assert len(windows) > 2
    for first_ns, length_ns, part in windows:
        inside = (every_ns >= first_ns) & (every_ns < first_ns + length_ns)
        assert np.array_equal(np.sort(part.packets.time_ns), every_ns[inside])


def test_short_captures_are_learned_whole() -> None:
    flows = assemble_flows(read_capture(OFFICE)[0])
    sections = {"demux": DemuxConfig(), "encode": EncodeConfig()}
    kept, same = learned_part([flows], sections, progress=Silence())
    assert kept[0] is flows
    assert same is sections


def test_files_that_overlap_in_time_are_counted_as_one_capture(tmp_path: Path) -> None:
    """Both directions of a link, each in a file of its own: too late to sort on the way."""
    data = OFFICE.read_bytes()
    at, frames = 24, []
    while at < len(data):
        size = int.from_bytes(data[at + 8 : at + 12], "little")
        kept = min(size, 54)
        head = data[at : at + 8] + kept.to_bytes(4, "little") + data[at + 12 : at + 16]
        frames.append(head + data[at + 16 : at + 16 + kept])
        at += 16 + size
    for name, parity in (("up.pcap", 0), ("down.pcap", 1)):
        half = [frame for frame in frames if frame[16 + 26 + 3] % 2 == parity]  # by the source
        copies = half * (180_000 // len(half) + 1)  # more than are held at a time
        (tmp_path / name).write_bytes(data[:24] + b"".join(copies))
    paths = [tmp_path / "up.pcap", tmp_path / "down.pcap"]
    with pytest.raises(LatePacketsError, match="late, more than 32768 packets"):
        list(iter_capture(paths))
    census, info = read_census(paths, salvage=False, progress=Silence())
    whole = census_of(assemble_flows(read_capture(paths)[0]))
    assert np.array_equal(census.packets, whole.packets)
    assert np.array_equal(census.tcp_end, whole.tcp_end)
    assert info.packet_count == whole.packets.sum()
