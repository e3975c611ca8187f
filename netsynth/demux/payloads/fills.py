"""Bytes that say nothing, for applications without a template that analysers dissect by port.

Random bytes are no message of any of them. The byte that fills a payload, and the shortest datagram
that is none too short then, are found by trying: of sixteen bytes, the one for which tshark 4.0
finds no datagram of 1 to 1472 bytes malformed, nor any stream, or the fewest.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from netsynth.numbers import Array, IntArray
from netsynth.tables import TCP, UDP, FlowTable

# byte -> shortest datagram -> ports
_DATAGRAMS: dict[int, dict[int, str]] = {
    0x00: {
        0: (
            "0 7 13 19 88 111 269 389 473 502 539 573 623 631 646 654 698-699 750 853 1044 "
            "1069 1089-1091 1101 1113 1547 1645-1646 1700-1701 1812-1813 1985 2029 2067 2099 "
            "2123 2152 2190 2221 2231 2246 2268 2424 2427 2727 2949 2960 3121 3205 3222 3333 "
            "3386 3483 3503 3540 3567 3622 3785 3792 3799 3819 3956 4011 4058 4305 4556 4665 "
            "4672 4713 5050 5060 5264-5265 5404-5405 5555 5567 5684 5868 6060 6084 6087 6543 "
            "6666 6696 7000-7010 7021 7075 7255 8000 8116 8161 8611-8614 9003 9202-9203 9214 "
            "9600 9955 9999 11211 11898 13819 13907 13910 17500 17754 19132 19788 19948 20000 "
            "20561 22222 27036 30030 45564 47808 49999 56000-56001 56500-56501 57000-57001 "
            "57032-57033 57500-57501 57532-57533 59000-59001 59032-59033 59500-59501 "
            "59532-59533 60001"
        ),
        2: "177 319-320 2055 2222 2948 3250 4000 4739 8211 9200 9996 18246 34980",
        3: "1293 2345 2944 4342 8600",
        4: "37 546 1001 2048 3452 4555 4754 5001 6343 9901 9956 27950-27953 27961-27963",
        5: "4306-4307",
        6: "49 3671 7074 8200 27960 34962",
        8: "173 496 664 2428 3389 3455 4551 4790 5436 6081 6160 7275 8848 26000",
        9: "4341 5072",
        10: "1755 2269 27500",
        12: "701 8755 8767 9877",
        13: "427 525 3000",
        14: "12220",
        15: "4729",
        16: "910 3357 24576-24577",
        20: "1628-1629",
        21: "11273",
        22: "4789",
        24: "3784 4784 6784 7784 44818",
        38: "1745",
    },
    0x80: {
        0: "925 1052 2157 2887 5350-5351 5678 10500 19999 32000 32512",
        2: "5094",
        5: "5000 17755-17756",
        6: "4533-4534 17220",
        12: "854",
        16: "3343 10253",
        21: "6118",
        28: "921",
        30: "213",
    },
    0x7F: {
        0: "5031",
        3: "12000-12004",
        5: "6635",
        10: "12222",
        16: "12223",
    },
    0x60: {
        0: "9201",
        3: "1718-1719",
        40: "3544",
    },
    0x20: {
        4: "4569",
        12: "4791",
    },
    0x41: {
        0: "14390-14400",  # ports of a dissector that looks at bytes too
        5: "5246-5247",
    },
    0xFF: {
        4: "6970 27910",
    },
    0x04: {
        5: "434",
    },
    0x01: {
        13: "9875",
    },
    0x55: {
        6: "524",
    },
    0x05: {
        4: "37008",
    },
    0x09: {
        0: "6073",
    },
}
# byte -> ports
_STREAMS = {
    0x41: (
        "0 7 13 19-20 23 37 42-43 49 70 79 88 104 111 119 179 210 323-324 389 427 464 473 "
        "512-515 547 554 564 631 646-647 674 705 802 829 854 873 925 988 1080 1090 1099 1102 1194 "
        "1213 1300 1344 1533 1547 1723 1755 1863 1900 1935 1978-1979 1998 2000-2001 2065 2099 "
        "2126 2190 2221 2234 2240 2321-2322 2345 2401 2424 2427 2433 2501-2502 2575 2600 2710 "
        "2727 2812 2855 2869 2944-2945 3002-3003 3006 3014 3016-3019 3050 3132 3205 3245-3252 "
        "3268 3288 3306 3333-3334 3357 3369 3386 3389 3452 3478 3496 3567 3632 3671 3689 3724 "
        "3804 3860 3868 3918 4002 4058 4155 4189 4222-4224 4249-4250 4321 4342 4369 4420 "
        "4555-4556 4661-4663 4712 4730 4737 4739 4788 4840 4880 5000 5010 5060 5066 5084 5094 "
        "5190 5222 5253 5432 5445 5500-5501 5534 5555 5671-5672 5683-5684 5701 5721 5868 "
        "5900-5901 5985 5997 6000-6063 6068 6075 6084 6121 6346 6417 6653 6666-6667 6881-6889 "
        "7000 7075 7171-7172 7236 7275-7276 7871 7890 7900 7930 8004 8009-8010 8074 8085 8554 "
        "8567 9000 9009 9042 9092 9168 9300 9418 9600 9955 9999-10000 10288 11207 11210-11211 "
        "11371 13400 13819 14001 15740 17500 17755-17756 19006 19042-19043 19506 19543 "
        "19999-20000 20256 21064 22222 24800 27017 29418 30000-30200 44321-44322 48049 48898 "
        "57000"
    ),
    0x7F: "123 161-162 1153 2123 2152 34980",
    0x00: "862 1861 2269 4551 6668 7911 9956",
    0x55: "199 524",
    0x01: "548 639",
    0x0A: "1521 3863",
    0xFF: "2571 8023",
    0xC0: "500 6160",
}


def choose_fills(flows: FlowTable) -> tuple[IntArray, IntArray]:
    """Choose by the lower port, as analysers do, else by the higher.

    Returns:
        The byte that fills each flow's payloads, -1 for any, and the bytes of its shortest
        datagram, int64 [F] each.
    """
    low = np.minimum(flows.initiator_port, flows.responder_port)
    high = np.maximum(flows.initiator_port, flows.responder_port)
    fill, shortest = np.full(len(flows), -1, dtype=np.int64), np.zeros(len(flows), dtype=np.int64)
    for protocol in (TCP, UDP):
        by_port = _by_port(protocol)
        rows = np.flatnonzero(flows.protocol == protocol)
        first, second = by_port[low[rows]], by_port[high[rows]]
        fill[rows], shortest[rows] = np.where(first[:, :1] >= 0, first, second).T
    return fill, shortest


@lru_cache(maxsize=2)
def _by_port(protocol: int) -> Array:
    """Byte, or -1, and shortest datagram by port, int64 [65536, 2]."""
    table = np.tile(np.array([-1, 0], dtype=np.int64), (65_536, 1))
    by_byte = _DATAGRAMS if protocol == UDP else {b: {0: ports} for b, ports in _STREAMS.items()}
    for byte, by_length in by_byte.items():
        for shortest, ports in by_length.items():
            for each in ports.split():
                first, _, last = each.partition("-")
                table[int(first) : int(last or first) + 1] = byte, shortest
    return table
