"""Room 3: FlowTable <-> EncodedTrace: IP bits, ports, zero-inflated series, record fields."""

from netsynth.encode.addresses import AddressMap
from netsynth.encode.codec import Codec, EncodeConfig
from netsynth.encode.conditions import allowed_tokens
from netsynth.encode.decode import decode
from netsynth.encode.fit import fit_codec
from netsynth.encode.port_allocator import PortAllocator
from netsynth.encode.series import SeriesConfig
from netsynth.encode.static import StaticCodec, StaticColumns
from netsynth.encode.static_tokens import static_tokens

__all__ = [
    "AddressMap",
    "Codec",
    "EncodeConfig",
    "PortAllocator",
    "SeriesConfig",
    "StaticCodec",
    "StaticColumns",
    "allowed_tokens",
    "decode",
    "fit_codec",
    "static_tokens",
]
