"""netsynth learns traffic from a capture and writes a new capture that behaves like it."""

__version__ = "0.1.0"
