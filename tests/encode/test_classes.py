"""Classes of flows, worked out by hand."""

import numpy as np

from netsynth.encode.classes import endings
from netsynth.encode.columns import (
    STATE_FIN_FORWARD,
    STATE_FIN_REVERSE,
    STATE_RST_FORWARD,
    STATE_RST_REVERSE,
    STATE_SYN,
    STATE_SYN_ACK,
)


def test_connections_differ_by_how_they_open_and_end() -> None:
    opened, both = STATE_SYN | STATE_SYN_ACK, STATE_FIN_FORWARD | STATE_FIN_REVERSE
    cases = {
        0: 0,  # begun before the capture, or no TCP
        STATE_RST_REVERSE: 3,
        both: 2,
        STATE_SYN: 4,  # a probe that nobody answers
        STATE_SYN | STATE_RST_REVERSE: 7,  # refused
        opened: 8,
        opened | STATE_FIN_REVERSE: 9,
        opened | both: 10,
        opened | both | STATE_RST_FORWARD: 10,  # closed before the reset
        opened | STATE_FIN_FORWARD | STATE_RST_FORWARD: 11,
        opened | STATE_RST_REVERSE: 11,
    }
    assert endings(np.array(list(cases))).tolist() == list(cases.values())
