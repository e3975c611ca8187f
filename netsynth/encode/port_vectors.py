"""Ports and protocols as vectors: Word2Vec over flows as sentences, and its inverse.

A flow is a sentence of its protocol, the port it opens, the port it opens it from, and how many
packets go either way; ports that are used alike lie near each other. Words carry their column, so
port 6 is not protocol 6, and an ICMP type is no port.

The way back is the nearest neighbour among the words seen. Ephemeral ports share one word: a port
is drawn from their learned distribution, never from those of the capture.

References:
    Mikolov et al., "Distributed Representations of Words and Phrases and their
    Compositionality", NeurIPS 2013 (skip-gram with negative sampling).
    Ring et al., "IP2Vec: Learning Similarities between IP Addresses", ICDMW 2017.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.columns import flow_columns
from netsynth.encode.port_places import draw_ports
from netsynth.encode.source_ports import SourcePortCodec, fit_source_port_codec
from netsynth.errors import ConfigError
from netsynth.numbers import Array, IntArray
from netsynth.tables import ICMP, ICMPV6, FlowTable

EPHEMERAL = -1  # in place of an initiator port that has no word of its own
SENTENCES = 60_000  # flows to learn from; of more, so many at random
WORDS_TO_READ = 600_000  # over all passes
PASSES = (4, 40)  # fewest and most passes over the sentences
CHUNK = 4096  # vectors compared with all words at once

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class PortVectors:
    """Vectors of protocols, responder ports and initiator ports, each within -1..1.

    Attributes:
        protocols: int64 [P], ascending.
        services: int64 [S, 2], rows (1 where it is ICMP, else 0; port, or ICMP type << 8 | code),
            ascending.
        clients: int64 [C], initiator ports with a word of their own, ascending; 0 is no port,
            EPHEMERAL all others.
        protocol_vectors: float32 [P, V].
        service_vectors: float32 [S, V].
        client_vectors: float32 [C, V].
        source_ports: Which ports are ephemeral, and how they are distributed.
    """

    protocols: IntArray
    services: IntArray
    clients: IntArray
    protocol_vectors: Vectors
    service_vectors: Vectors
    client_vectors: Vectors
    source_ports: SourcePortCodec

    @property
    def width(self) -> int:
        """Numbers in a vector, V."""
        return int(self.protocol_vectors.shape[1])

    def encode_protocols(self, protocols: Array) -> Vectors:
        """Return the vector of each protocol, float32 [F, V]; unseen ones take the nearest
        number's."""
        return self.protocol_vectors[_nearest_number(self.protocols, protocols)]

    def decode_protocols(self, vectors: Array) -> IntArray:
        """Return the protocol nearest to each vector [F, V]: int64 [F]."""
        return self.protocols[_nearest(vectors, self.protocol_vectors)]

    def encode_services(self, ports: Array, protocols: Array) -> Vectors:
        """Return the vector of each responder port (ICMP: type << 8 | code), float32 [F, V].

        An unseen port takes the vector of the nearest number among those of its kind.
        """
        result = np.empty((np.size(ports), self.width), dtype=np.float32)
        for rows, known in self._by_kind(np.asarray(protocols)):
            place = _nearest_number(self.services[known, 1], np.asarray(ports)[rows])
            result[rows] = self.service_vectors[known[place]]
        return result

    def decode_services(self, vectors: Array, protocols: Array) -> IntArray:
        """Return the port (ICMP: type and code) nearest to each vector [F, V]: int64 [F].

        Ports are compared with ports, ICMP types with ICMP types, as `protocols` [F] say.
        """
        result = np.empty(vectors.shape[0], dtype=np.int64)
        for rows, known in self._by_kind(np.asarray(protocols)):
            place = _nearest(vectors[rows], self.service_vectors[known])
            result[rows] = self.services[known[place], 1]
        return result

    def encode_rows(self, rows: IntArray) -> Vectors:
        """Return the vectors of protocol and port of service rows, float32 [M, 2 V].

        Args:
            rows: int64 [M, 3], rows (protocol, IP version, port); a port below 0 is any, its
                vector 0.
        """
        protocol = self.encode_protocols(rows[:, 0])
        port = self.encode_services(np.maximum(rows[:, 2], 0), rows[:, 0])
        port[rows[:, 2] < 0] = 0
        return np.concatenate([protocol, port], axis=1)

    def client_words(self, ports: Array) -> IntArray:
        """Return initiator ports [F] with EPHEMERAL in place of those without a word: int64."""
        ports = np.asarray(ports, dtype=np.int64)
        return np.where(np.isin(ports, self.clients), ports, EPHEMERAL)

    def encode_clients(self, ports: Array) -> Vectors:
        """Return the vector of each initiator port (or EPHEMERAL), float32 [F, V]."""
        return self.client_vectors[np.searchsorted(self.clients, self.client_words(ports))]

    def decode_clients(self, vectors: Array) -> IntArray:
        """Return the initiator port, or EPHEMERAL, nearest to each vector [F, V]: int64 [F]."""
        return self.clients[_nearest(vectors, self.client_vectors)]

    def draw_ephemeral(self, ports: Array, rng: np.random.Generator) -> IntArray:
        """Put a drawn port in place of each EPHEMERAL of `ports` [F]: int64 [F]."""
        ports = np.array(ports, dtype=np.int64)
        rows = np.flatnonzero(ports == EPHEMERAL)
        places = self.source_ports.places
        share = places.counts / places.counts.sum()
        ports[rows] = draw_ports(rng.choice(places.rows[:, 3], rows.size, p=share), rng)
        return ports

    def _by_kind(self, protocols: Array) -> list[tuple[IntArray, IntArray]]:
        """Rows of `protocols` that are ICMP, or not, and the services to compare them with."""
        is_icmp = np.isin(protocols, (ICMP, ICMPV6)).astype(np.int64)
        pairs = []
        for kind in (0, 1):
            known = np.flatnonzero(self.services[:, 0] == kind)
            if known.size == 0:  # none of that kind was seen
                known = np.arange(self.services.shape[0])
            pairs.append((np.flatnonzero(is_icmp == kind), known))
        return pairs

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the vectors as named arrays, for a model file."""
        arrays = {f"{name}.{key}": getattr(self, key) for key in ARRAYS}
        return arrays | self.source_ports.to_arrays(f"{name}.source_ports")

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> PortVectors:
        """Inverse of `to_arrays`."""
        return PortVectors(
            **{key: arrays[f"{name}.{key}"] for key in ARRAYS},
            source_ports=SourcePortCodec.from_arrays(f"{name}.source_ports", arrays),
        )


ARRAYS = (
    "protocols", "services", "clients", "protocol_vectors", "service_vectors", "client_vectors",
)  # fmt: skip


def fit_port_vectors(flow_tables: list[FlowTable], *, width: int = 8, seed: int) -> PortVectors:
    """Learn vectors of the ports and protocols of captures.

    Args:
        flow_tables: Flows, at least one.
        width: Numbers in a vector, V.
        seed: The same seed and flows give the same vectors, whatever PYTHONHASHSEED is.

    Raises:
        ConfigError: If `width` is below 1 or there are no flows.
    """
    if width < 1:
        raise ConfigError(f"the width of port vectors is {width}, but must be at least 1")
    if not any(len(t) for t in flow_tables):
        raise ConfigError("port vectors need at least one flow")
    nothing = [np.zeros(len(t), dtype=np.int64) for t in flow_tables]
    source_ports = fit_source_port_codec(flow_tables, nothing, nothing, nothing)
    columns = [flow_columns(t) for t in flow_tables]
    protocol = np.concatenate([t.protocol for t in flow_tables]).astype(np.int64)
    is_icmp = np.isin(protocol, (ICMP, ICMPV6)).astype(np.int64)
    service = np.stack([is_icmp, np.concatenate([c.service_port for c in columns])], axis=1)
    client = np.concatenate([t.initiator_port for t in flow_tables]).astype(np.int64)
    named = (source_ports.named.find(client[:, None]) >= 0) | (client == 0)
    client = np.where(named, client, EPHEMERAL)
    # The word EPHEMERAL is always there: the way back must be able to say it.
    protocols, protocol_word = np.unique(protocol, return_inverse=True)
    services, service_word = np.unique(service, axis=0, return_inverse=True)
    clients, client_word = np.unique(np.append(client, EPHEMERAL), return_inverse=True)
    totals = np.concatenate([c.totals for c in columns])[:, :2]
    size = np.floor(2 * np.log2(totals + 1.0)).astype(np.int64)  # two classes an octave
    rng = np.random.default_rng([seed, 7])
    words = [protocol_word, service_word.ravel(), client_word[:-1], size[:, 0], size[:, 1]]
    table = _train(_sentences(np.stack(words, axis=1), rng), width=width, seed=seed)
    vectors = [
        _look_up(table, prefix, count, width=width)
        for prefix, count in zip(PREFIXES, (len(protocols), len(services), len(clients)),
                                 strict=False)
    ]  # fmt: skip
    return PortVectors(
        protocols=protocols,
        services=services,
        clients=clients,
        protocol_vectors=vectors[0],
        service_vectors=vectors[1],
        client_vectors=vectors[2],
        source_ports=source_ports,
    )


PREFIXES = ("p", "s", "c", "f", "r")  # protocol, service, client, packets forward and reverse


def _sentences(words: IntArray, rng: np.random.Generator) -> list[list[str]]:
    """Write flows [F, 5] as sentences; of very many, some, each word at least once."""
    rows = np.arange(words.shape[0])
    if rows.size > SENTENCES:
        first = [np.unique(words[:, column], return_index=True)[1] for column in range(3)]
        rows = np.union1d(rng.choice(rows.size, SENTENCES, replace=False), np.concatenate(first))
    columns = []
    for place, prefix in enumerate(PREFIXES):
        spelt = [f"{prefix}:{number}" for number in range(int(words[:, place].max()) + 1)]
        columns.append(np.array(spelt, dtype=object)[words[rows, place]])
    sentences: list[list[str]] = np.stack(columns, axis=1).tolist()
    return sentences


def _train(sentences: list[list[str]], *, width: int, seed: int) -> dict[str, Vectors]:
    """Train skip-gram on `sentences`; return the vector of each word."""
    from gensim.models import Word2Vec  # late: importing it costs seconds

    read = len(sentences) * len(PREFIXES)
    model = Word2Vec(
        sentences,
        vector_size=width,
        window=len(PREFIXES),
        shrink_windows=False,
        min_count=1,
        sg=1,
        negative=5,
        sample=1e-2,
        epochs=int(np.clip(WORDS_TO_READ // read, *PASSES)),
        seed=seed % 2**31 + 1,
        workers=1,
        hashfxn=_stable_hash,
    )
    return {word: model.wv[word] for word in model.wv.index_to_key}


def _stable_hash(text: str) -> int:
    """Hash that is the same in every process."""
    return zlib.crc32(str(text).encode())


def _look_up(table: dict[str, Vectors], prefix: str, count: int, *, width: int) -> Vectors:
    """Vectors of the words of a column, scaled to -1..1 by their largest number."""
    vectors = np.zeros((count, width), dtype=np.float32)
    for word in range(count):
        vectors[word] = table.get(f"{prefix}:{word}", np.zeros(width, np.float32))
    largest = np.abs(vectors).max()
    return (vectors / largest if largest > 0 else vectors).astype(np.float32)


def _nearest(vectors: Array, known: Vectors) -> IntArray:
    """Row of `known` [W, V] nearest to each vector [F, V] (Euclid; ties: the first): int64 [F]."""
    result = np.empty(vectors.shape[0], dtype=np.int64)
    wide = known.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    for at in range(0, vectors.shape[0], CHUNK):
        piece = np.asarray(vectors[at : at + CHUNK], dtype=np.float64)
        result[at : at + CHUNK] = np.argmin(squares - 2 * piece @ wide.T, axis=1)
    return result


def _nearest_number(known: IntArray, wanted: Array) -> IntArray:
    """Row of `known` (ascending) whose number is nearest to each of `wanted` [F]: int64 [F]."""
    wanted = np.asarray(wanted, dtype=np.int64)
    above = np.minimum(np.searchsorted(known, wanted), known.size - 1)
    below = np.maximum(above - 1, 0)
    closer = np.abs(known[below] - wanted) < np.abs(known[above] - wanted)
    return np.where(closer, below, above).astype(np.int64)
