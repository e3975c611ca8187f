"""First payloads: messages that begin as the application of the port would begin them.

Each file holds the templates of some applications, `registry` says which port has which. Names
and text come from word lists and reserved domains.
"""

from netsynth.demux.payloads.prefixes import Prefixes, build_prefixes
from netsynth.demux.payloads.registry import find_short_messages

__all__ = ["Prefixes", "build_prefixes", "find_short_messages"]
