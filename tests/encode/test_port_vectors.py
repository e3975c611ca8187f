"""Ports and protocols become vectors and come back; ephemeral ports are drawn, not replayed."""

import os
import subprocess
import sys

import numpy as np
import pytest
from encode_flows import make_flows, office_flows

from netsynth.encode.columns import flow_columns
from netsynth.encode.port_vectors import EPHEMERAL, PortVectors, fit_port_vectors
from netsynth.errors import ConfigError
from netsynth.tables import FlowTable

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from test_port_vectors import mixed_flows
from netsynth.encode.port_vectors import fit_port_vectors
vectors = fit_port_vectors([mixed_flows()], seed=3)
print(vectors.service_vectors.tobytes().hex(), vectors.client_vectors.tobytes().hex())
"""


def mixed_flows() -> FlowTable:
    """UDP to ports 6 and 2048, TCP to 80, ICMP echo (type 8: 2048) and a server on 123 to 123."""
    rng = np.random.default_rng(1)
    kinds = [(17, 6), (17, 2048), (6, 80), (1, 0), (17, 123)]
    flows, packets = [], []
    for index in range(150):
        protocol, port = kinds[index % 5]
        client = 0 if protocol == 1 else int(rng.integers(49152, 65536))
        flows.append(
            {
                "protocol": protocol,
                "responder_port": port,
                "initiator_port": 123 if port == 123 else client,
                "initiator": index % 3,
            }
        )
        packets.append([(index * 1000, 0, 10), (index * 1000 + 10, 1, 20)][: 1 + index % 2])
    table = make_flows(flows, packets)
    table.packets.icmp[np.repeat(table.protocol == 1, np.diff(table.offsets))] = 8 << 8
    return table


@pytest.fixture(scope="module")
def mixed() -> PortVectors:
    return fit_port_vectors([mixed_flows()], seed=3)


@pytest.fixture(scope="module")
def office() -> PortVectors:
    return fit_port_vectors([office_flows()], seed=0)


def test_what_was_seen_comes_back_exactly(office: PortVectors) -> None:
    flows = office_flows()
    port, protocol = flow_columns(flows).service_port, flows.protocol
    assert np.unique(port).size > 6
    assert (office.decode_services(office.encode_services(port, protocol), protocol) == port).all()
    assert (office.decode_protocols(office.encode_protocols(protocol)) == protocol).all()
    client = flows.initiator_port.astype(np.int64)
    back = office.decode_clients(office.encode_clients(client))
    named = np.isin(client, office.clients)
    assert (back[named] == client[named]).all()
    assert (back[~named] == EPHEMERAL).all()


def test_vectors_lie_within_one_and_have_the_width_asked_for(office: PortVectors) -> None:
    assert office.width == 8
    for vectors in (office.protocol_vectors, office.service_vectors, office.client_vectors):
        assert np.abs(vectors).max() == 1
        assert vectors.dtype == np.float32
    assert fit_port_vectors([mixed_flows()], width=3, seed=0).service_vectors.shape[1] == 3


def test_a_vector_off_its_word_still_finds_it(office: PortVectors) -> None:
    """Noise of a tenth of the distance to the nearest other word changes nothing."""
    known = office.protocol_vectors
    gap = np.sqrt(((known[0] - known[1]) ** 2).sum())
    noise = np.random.default_rng(0).normal(size=known.shape)
    noise *= 0.1 * gap / np.sqrt((noise**2).sum(axis=1, keepdims=True))
    assert (office.decode_protocols(known + noise) == office.protocols).all()


def test_columns_have_vocabularies_of_their_own(mixed: PortVectors) -> None:
    assert mixed.protocols.tolist() == [1, 6, 17]
    assert mixed.services.tolist() == [[0, 6], [0, 80], [0, 123], [0, 2048], [1, 2048]]
    assert mixed.clients.tolist() == [EPHEMERAL, 0, 123]
    port_6 = mixed.encode_services(np.array([6]), np.array([17]))
    protocol_6 = mixed.encode_protocols(np.array([6]))
    assert not np.allclose(port_6, protocol_6)


def test_an_icmp_type_is_no_port(mixed: PortVectors) -> None:
    both = mixed.encode_services(np.array([2048, 2048]), np.array([17, 1]))
    assert not np.allclose(both[0], both[1])
    # read as ICMP, any vector is an ICMP type; read as UDP, it is a port
    assert mixed.decode_services(both, np.array([1, 1])).tolist() == [2048, 2048]
    assert mixed.decode_services(both[:1], np.array([17])).tolist() == [2048]


def test_unseen_numbers_take_the_nearest_one(mixed: PortVectors) -> None:
    vectors = mixed.encode_services(np.array([81, 65535]), np.array([6, 6]))
    assert mixed.decode_services(vectors, np.array([6, 6])).tolist() == [80, 2048]


def test_ports_used_alike_lie_near_each_other() -> None:
    """80 and 8080: TCP, many packets back; 53 and 5353: UDP, one packet from port 5353 or 53."""
    flows, packets = [], []
    for index in range(400):
        port = (80, 8080, 53, 5353)[index % 4]
        web = port in (80, 8080)
        flows.append(
            {
                "protocol": 6 if web else 17,
                "responder_port": port,
                "initiator_port": 50000 + index if web else port,
            }
        )
        packets.append([(index * 1000 + i, i % 2, 9) for i in range(20 if web else 1)])
    vectors = fit_port_vectors([make_flows(flows, packets)], seed=0)
    place = {int(port): vectors.service_vectors[i] for i, (_, port) in enumerate(vectors.services)}
    assert np.linalg.norm(place[80] - place[8080]) < np.linalg.norm(place[80] - place[53])


def test_ephemeral_ports_are_drawn_as_they_lay(mixed: PortVectors) -> None:
    """Uniform in 49152..65535 in, so mean 57344 and standard deviation 4730 out."""
    wanted = np.concatenate([np.full(4000, EPHEMERAL), [123, 0]])
    drawn = mixed.draw_ephemeral(wanted, np.random.default_rng(0))
    assert drawn[-2:].tolist() == [123, 0]
    ports = drawn[:-2]
    assert ports.min() >= 49152 - 200
    assert ports.max() <= 65535
    assert abs(ports.mean() - 57344) < 1000
    assert abs(ports.std() - 4730) < 500
    trained = set(mixed_flows().initiator_port.tolist())
    assert np.isin(ports, list(trained)).mean() < 0.1  # 90 of 16384 were seen
    again = mixed.draw_ephemeral(wanted, np.random.default_rng(0))
    assert (again == drawn).all()


def test_same_seed_same_vectors_whatever_the_hash_seed(mixed: PortVectors) -> None:
    from pathlib import Path

    script = SCRIPT.format(folder=str(Path(__file__).parent))
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    )  # fmt: skip
    services, clients = result.stdout.split()
    assert services == mixed.service_vectors.tobytes().hex()
    assert clients == mixed.client_vectors.tobytes().hex()
    other = fit_port_vectors([mixed_flows()], seed=4)
    assert not np.allclose(other.service_vectors, mixed.service_vectors)


def test_arrays_restore_the_vectors(mixed: PortVectors) -> None:
    back = PortVectors.from_arrays("x", mixed.to_arrays("x"))
    ports, protocols = mixed.services[:, 1], np.array([17, 6, 17, 17, 1])
    assert (back.encode_services(ports, protocols) == mixed.encode_services(ports, protocols)).all()
    rows = np.full(50, EPHEMERAL)
    drawn = [v.draw_ephemeral(rows, np.random.default_rng(5)) for v in (back, mixed)]
    assert (drawn[0] == drawn[1]).all()


def test_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="width of port vectors is 0"):
        fit_port_vectors([mixed_flows()], width=0, seed=0)
    with pytest.raises(ConfigError, match="at least one flow"):
        fit_port_vectors([], seed=0)
