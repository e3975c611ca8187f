"""Which template a flow's messages follow, by the port of its server."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.payloads import control, devices, dns, network, stores, terminal, tls, web
from netsynth.demux.payloads.fills import choose_fills
from netsynth.demux.payloads.shape import Template
from netsynth.numbers import IntArray
from netsynth.tables import (
    AHEAD,
    ICMP,
    ICMPV6,
    IN_ORDER,
    IP_FRAGMENT,
    IP_MF,
    KEEP_ALIVE,
    RST,
    TCP,
    UDP,
    FlowTable,
)

_TLS_PORTS = (443, 465, 563, 636, 853, 989, 990, 992, 993, 995, 5061, 5223, 5228, 8883)
_BY_PORT: dict[int, dict[Template, tuple[int, ...]]] = {
    TCP: {
        web.HTTP: (80, 81, 591, 3128, 8000, 8008, 8080, 8081, 8088, 8888),
        tls.TLS: (*_TLS_PORTS, *range(1443, 65536, 1000)),  # 8443 and others like it
        dns.DNS_OVER_TCP: (53, 5353),
        terminal.SSH: (22, 2222, 29418),
        terminal.SMTP: (25, 587, 2525),
        terminal.FTP: (21,),
        terminal.POP3: (110,),
        terminal.IMAP: (143,),
        devices.MQTT: (1883,),
        devices.MODBUS: (502,),
        devices.ETHERNET_IP: (44818,),
        devices.ISO_TRANSPORT: (102,),
        devices.TELECONTROL: (2404,),
        stores.REDIS: (6379,),
        stores.SMB: (445,),
        stores.NETBIOS_SESSION: (139,),
        stores.RPC: (135,),
        stores.TDS: (1433,),
    },
    UDP: {
        dns.DNS: (53, 5355),
        dns.MULTICAST_DNS: (5353,),
        dns.NETBIOS_NAME: (137,),
        dns.NETBIOS_DATAGRAM: (138,),
        web.SSDP: (1900,),
        control.DHCP: (67,),
        control.DHCP6: (547,),
        control.NTP: (123,),
        control.SNMP: (161, 162),
        control.SYSLOG: (514,),
        control.STUN: (3478, 3479, 19302),
        control.IKE: (500,),
        control.TFTP: (69,),
        control.RIP: (520,),
        control.QUIC: (443,),
        control.WRAPPED_ESP: (4500,),
        control.OPENVPN: (1194,),
        control.COUNTED: (2945, 3130, 25826),
        devices.COAP: (5683,),
    },
}
IGMP, _SCTP = 2, 132
_BOOTP_CLIENT = 68  # RFC 2131 section 4.1
_LISTENER_REPORT = 143  # RFC 3810 section 5.2
_BY_ICMP6 = {
    network.ICMP6_BODY: (133, 134, 137, 143),
    network.SOLICITATION: (135,),
    network.ADVERTISEMENT: (136,),
    network.LISTENER: (130, 131, 132),
}


@lru_cache(maxsize=1)
def all_templates() -> tuple[Template, ...]:
    """Return every template, in the order of the numbers that `choose_templates` gives."""
    by_port = [each for table in _BY_PORT.values() for each in table]
    return (*by_port, *_BY_ICMP6, network.IGMP, network.IGMP_RECORDS, network.SCTP)


_ERROR_QUOTES = {ICMP: ((3, 4, 5, 11, 12), 28), ICMPV6: ((1, 2, 3, 4), 48)}  # IP header and 8
_ICMP6_FIXED = {130: 16, 131: 16, 132: 16, 133: 0, 134: 8, 135: 16, 136: 16, 137: 32, 143: 20}


def find_short_messages(flows: FlowTable) -> tuple[IntArray, IntArray]:
    """Find datagrams, segments and ICMP messages of sizes that their application never has.

    No segment of SSH has a byte alone, no report of IGMP half a record. Keep-alives are left alone,
    and the later segments of a message, of which the last may be as short as it likes; but not
    those of telecontrol, each of which holds whole frames.

    Returns:
        Their rows, and the bytes that their payloads should have.

    References:
        RFC 792 (errors quote the IP header and 8 bytes); RFC 4443 section 3; RFC 4861 section 4
        (options are multiples of 8 bytes); RFC 2710 and RFC 3810 section 5.2; RFC 2236.
    """
    p = flows.packets
    size = p.payload_length.astype(np.int64)
    wanted = size.copy()
    has_data = ((p.protocol == UDP) | (p.protocol == TCP)) & (size > 0)
    has_data &= (flows.segment != KEEP_ALIVE) & (p.tcp_flags & RST == 0)
    if has_data.any():
        chosen = choose_templates(flows)[0]
        shortest, usual, step = (
            np.array([*(getattr(template, name) for template in all_templates()), neutral])[chosen]
            for name, neutral in (("shortest", 0), ("usual", 0), ("step", 1))
        )
        filled = np.where((chosen < 0) & (flows.protocol == UDP), choose_fills(flows)[1], 0)
        shortest, usual = np.maximum(shortest, filled), np.maximum(usual, filled)
        is_wrapped = (chosen == all_templates().index(control.WRAPPED_ESP))[flows.flow_of_packet]
        has_data &= ~(is_wrapped & (size == 1))  # its keep-alive
        is_ssh = (chosen == all_templates().index(terminal.SSH))[flows.flow_of_packet]
        shortest, usual, step = (each[flows.flow_of_packet] for each in (shortest, usual, step))
        has_data &= is_ssh | (step > 1) | ~_go_on(flows)
        whole = shortest + (size - shortest + step - 1) // step * step
        wanted = np.where(has_data, np.where(size < shortest, usual, whole), wanted)
    is_igmp = p.protocol == IGMP
    wanted = np.where(is_igmp, np.maximum(size + 7, 8) // 8 * 8, wanted)
    kind = p.icmp >> 8
    for protocol, (kinds, least) in _ERROR_QUOTES.items():
        is_error = (p.protocol == protocol) & np.isin(kind, kinds)
        wanted = np.where(is_error, np.maximum(wanted, least), wanted)
    for number, fixed in _ICMP6_FIXED.items():
        is_kind = (p.protocol == ICMPV6) & (kind == number)
        whole = np.maximum(size, fixed)
        if 133 <= number <= 137:
            whole = fixed + (whole - fixed + 7) // 8 * 8
        if number == _LISTENER_REPORT:  # whole records without sources
            whole = (whole + fixed - 1) // fixed * fixed
        wanted = np.where(is_kind, whole, wanted)
    is_whole = p.ip_flags & (IP_MF | IP_FRAGMENT) == 0
    rows = np.flatnonzero((wanted != size) & is_whole)
    return rows, wanted[rows]


def _go_on(flows: FlowTable) -> NDArray[np.bool_]:
    """Whether TCP data follows new data of the same side, with none of the other's between: [N].

    What comes again takes no turn, and what comes behind a gap is read for a beginning.
    """
    p = flows.packets
    has_data = (p.protocol == TCP) & (p.payload_length > 0) & (p.tcp_flags & RST == 0)
    is_new = has_data & ((flows.segment == IN_ORDER) | (flows.segment == AHEAD))
    rows: IntArray = np.flatnonzero(has_data)
    last = np.maximum.accumulate(np.where(is_new, np.arange(len(p)), -1))[rows - 1]
    last[rows == 0] = -1
    side = flows.flow_of_packet * 2 + flows.reverse
    goes_on = np.zeros(len(p), dtype=np.bool_)
    goes_on[rows] = (last >= 0) & (side[rows] == side[last]) & (flows.segment[rows] != AHEAD)
    return goes_on


def choose_icmp6(icmp: NDArray[np.uint16]) -> IntArray:
    """Choose by type, for `icmp` [M], type << 8 | code: number of the template, -1 for none.

    A flow may hold several types.
    """
    numbers = {template: number for number, template in enumerate(all_templates())}
    by_type = np.full(256, -1, dtype=np.int64)
    for template, types in _BY_ICMP6.items():
        by_type[list(types)] = numbers[template]
    return np.asarray(by_type[icmp >> 8], dtype=np.int64)


def choose_igmp(sizes: IntArray) -> IntArray:
    """Choose by the bytes of messages, `sizes` [M]: version 2, or 3 where there is room for it.

    Hosts change from one to the other in the middle of a flow (RFC 3376 section 7.2).
    """
    older, newer = (all_templates().index(each) for each in (network.IGMP, network.IGMP_RECORDS))
    return np.where(sizes < 16, older, newer)


def choose_templates(flows: FlowTable) -> tuple[IntArray, NDArray[np.bool_]]:
    """Choose by the responder's port, else the initiator's; for ICMPv6 by the type.

    Returns:
        Number of each flow's template, int64 [F], -1 for none, and whether its responder is the
        client, bool [F].
    """
    numbers = {template: number for number, template in enumerate(all_templates())}
    chosen = np.full(len(flows), -1, dtype=np.int64)
    is_swapped = np.zeros(len(flows), dtype=np.bool_)
    for protocol, table in _BY_PORT.items():
        by_port = np.full(65536, -1, dtype=np.int64)
        for template, ports in table.items():
            by_port[list(ports)] = numbers[template]
        rows = np.flatnonzero(flows.protocol == protocol)
        responder = by_port[flows.responder_port[rows]]
        initiator = by_port[flows.initiator_port[rows]]
        chosen[rows] = np.where(responder >= 0, responder, initiator)
        is_swapped[rows] = (responder < 0) & (initiator >= 0)
    is_bootp = (flows.protocol == UDP) & (chosen < 0)
    for own, is_server in ((flows.initiator_port, False), (flows.responder_port, True)):
        rows = np.flatnonzero(is_bootp & (own == _BOOTP_CLIENT))
        chosen[rows], is_swapped[rows] = numbers[control.DHCP], is_server
    rows = np.flatnonzero(flows.packets.protocol == ICMPV6)
    np.maximum.at(chosen, flows.flow_of_packet[rows], choose_icmp6(flows.packets.icmp[rows]))
    chosen[flows.protocol == IGMP] = numbers[network.IGMP]
    chosen[flows.protocol == _SCTP] = numbers[network.SCTP]
    return chosen, is_swapped
