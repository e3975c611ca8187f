"""Room 1: capture bytes <-> PacketTable."""

from netsynth.capture.arp import build_exchange
from netsynth.capture.info import CaptureInfo, hash_capture
from netsynth.capture.read import LatePacketsError, iter_capture, read_capture
from netsynth.capture.writer import CaptureWriter

__all__ = [
    "CaptureInfo",
    "CaptureWriter",
    "LatePacketsError",
    "build_exchange",
    "hash_capture",
    "iter_capture",
    "read_capture",
]
