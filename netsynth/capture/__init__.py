"""Room 1: capture bytes <-> PacketTable."""

from netsynth.capture.info import CaptureInfo, hash_capture
from netsynth.capture.read import iter_capture, read_capture

__all__ = ["CaptureInfo", "hash_capture", "iter_capture", "read_capture"]
