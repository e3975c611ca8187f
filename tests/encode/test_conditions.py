"""Conditions become masks of the tokens that fulfil them, or say what there is instead."""

from pathlib import Path

import pytest

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows, read_labels
from netsynth.encode import Codec, EncodeConfig, allowed_tokens, fit_codec
from netsynth.errors import ConfigError

SAMPLES = Path(__file__).parents[2] / "sample_pcaps"


@pytest.fixture(scope="module")
def codec() -> Codec:
    packets, _ = read_capture(SAMPLES / "office.pcap")
    flows = assemble_flows(packets, labels=read_labels(SAMPLES / "office.attacks.csv"))
    return fit_codec([flows], config=EncodeConfig(), seed=0)


def test_a_label_allows_its_token_alone(codec: Codec) -> None:
    mask = allowed_tokens(codec, {"label": "portscan"})["label"]
    assert [codec.label_names[token] for token in mask.nonzero()[0]] == ["portscan"]


@pytest.mark.parametrize(
    ("where", "column", "value"),
    [
        ({"port": "6379"}, 2, 6379),
        ({"protocol": "udp"}, 0, 17),
        ({"protocol": "17"}, 0, 17),
        ({"ip": "4"}, 1, 4),
    ],
)
def test_services_are_chosen_by_their_columns(
    codec: Codec, where: dict[str, str], column: int, value: int
) -> None:
    mask = allowed_tokens(codec, where)["service"]
    assert mask.any()
    assert (codec.services.rows[mask][:, column] == value).all()
    assert (codec.services.rows[~mask][:, column] != value).all()


def test_conditions_hold_together(codec: Codec) -> None:
    allowed = allowed_tokens(codec, {"port": "53", "protocol": "udp", "label": ""})
    rows = codec.services.rows[allowed["service"]]
    assert rows[:, [0, 2]].tolist() == [[17, 53]]
    assert allowed["label"].tolist() == [True] + [False] * (len(codec.label_names) - 1)
    assert allowed_tokens(codec, {}) == {}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"colour": "red"}, "no condition colour; there are label, protocol, port, ip"),
        ({"label": "worm"}, "knows no label 'worm'; it knows http_flood, portscan"),
        ({"port": "4"}, "port=4: the model has learned no such service; it knows 22,"),
        ({"port": "http"}, "'http' is no port"),
        ({"protocol": "quic"}, "'quic' is no protocol"),
        ({"ip": "6"}, "has learned no service with ip=6"),
        ({"port": "6379", "protocol": "udp"}, "no service with port=6379 and protocol=udp"),
    ],
)
def test_what_was_not_learned_is_told(codec: Codec, where: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        allowed_tokens(codec, where)
