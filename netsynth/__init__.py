"""netsynth learns traffic from a capture and writes a new capture that behaves like it.

model = netsynth.fit("trace.pcap", output="trace.netsynth")
model = netsynth.Model.load("trace.netsynth")
model.sample("out.pcap", packets=1_000_000)
print(netsynth.compare("trace.pcap", "out.pcap").summary())
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsynth.model import Model
    from netsynth.pipeline import compare, fit

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "compare", "fit"]

_HOMES = {"Model": "netsynth.model", "compare": "netsynth.pipeline", "fit": "netsynth.pipeline"}


def __getattr__(name: str) -> Any:
    """Import the public names on use, so that `import netsynth` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'netsynth' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
