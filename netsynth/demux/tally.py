"""What a chunk of packets adds to the counts of its flows."""

from __future__ import annotations

from netsynth.jit import compiled
from netsynth.numbers import Array, IntArray


@compiled
def tally(
    flow: Array,
    known: int,
    src: Array,
    dst: Array,
    src_port: Array,
    dst_port: Array,
    protocol: Array,
    ip_version: Array,
    icmp: Array,
    tcp_flags: Array,
    vlan: Array,
    wire_length: Array,
    is_group: Array,
    vlans: Array,
    versions: IntArray,
    packets: IntArray,
    wire_bytes: IntArray,
    first_src: Array,
    first_dst: Array,
    first_src_port: Array,
    first_dst_port: Array,
    flow_protocol: Array,
    first_way: Array,
    seen: Array,
) -> None:
    """Add packets to the columns of their flows; see `FlowCensus` and `find_initiators`.

    Args:
        flow: int32 [N], the flow of each packet; new flows in ascending order.
        known: Flows that have packets of earlier chunks.
        src: The packets' own, like the columns that follow (PACKET_COLUMNS).
        is_group: bool [A]; True for multicast and broadcast addresses.
        vlans: bool [4096], VLAN ids seen; updated.
        versions: int64 [16], packets by IP version; updated.
        packets: int64 [F or more], like the columns that follow; see `census.COLUMNS`. In
            `first_way`, 2 says that no later packet changes what 1 says.
    """
    count = known
    for i in range(flow.size):
        f = flow[i]
        number = protocol[i]
        flags = tcp_flags[i]
        if f == count:
            count += 1
            first_src[f] = src[i]
            first_dst[f] = dst[i]
            first_src_port[f] = src_port[i]
            first_dst_port[f] = dst_port[i]
            flow_protocol[f] = number
            way = 1
            if is_group[src[i]] != is_group[dst[i]]:
                way = 3 if is_group[dst[i]] else 2
            else:
                if (src_port[i] < 1024) != (dst_port[i] < 1024):
                    way = 1 if dst_port[i] < 1024 else 0
                if number == 1 or number == 58:
                    message = icmp[i] >> 8
                    if message == (8 if number == 1 else 128):
                        way = 3
                    elif message == (0 if number == 1 else 129):
                        way = 2
                    else:
                        way |= 2
            first_way[f] = way
        packets[f] += 1
        wire_bytes[f] += wire_length[i]
        versions[ip_version[i]] += 1
        vlans[vlan[i]] = True
        is_same_way = src[i] == first_src[f] and src_port[i] == first_src_port[f]
        bits = seen[f]
        if not is_same_way:
            bits |= 128
        if number == 6:
            if flags & 2 != 0:
                if first_way[f] & 2 == 0:
                    first_way[f] = 2 + (is_same_way == (flags & 16 == 0))
                if flags & 16 == 0:
                    bits |= 1 if is_same_way else 2
                else:
                    bits |= 4 if is_same_way else 8
            if flags & 1 != 0:
                bits |= 16 if is_same_way else 32
            if flags & 4 != 0:
                bits |= 64
        seen[f] = bits
