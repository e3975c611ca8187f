"""Embeddings that start from vectors, and decoders whose columns agree."""

import numpy as np
import pytest
import torch
from generate_traces import layout

from netsynth.generate.transformer.choosing import draw
from netsynth.generate.transformer.fields import FieldDecoder, FieldEmbedding
from netsynth.tables import TokenField


def test_an_embedding_starts_from_the_vectors_of_its_field() -> None:
    """Tokens 0 and 1 have one vector, so one row; the other field's rows stay random."""
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.9, 0.1]], dtype=np.float32)
    plain, known = TokenField(name="a", size=3), TokenField(name="b", size=4, vectors=vectors)
    torch.manual_seed(0)
    table = FieldEmbedding((plain, known), width=64).table.weight.detach()
    assert table.shape == (7, 64)
    assert torch.equal(table[3], table[4])
    near, far = (table[3] - table[6]).norm(), (table[3] - table[5]).norm()
    assert near < 0.3 * far
    assert table[3:].square().mean().sqrt() == pytest.approx(0.3 / 2**0.5)
    torch.manual_seed(1)
    again = FieldEmbedding((plain, known), width=64).table.weight.detach()
    assert torch.equal(again[3:], table[3:])  # the projection is fixed
    assert not torch.equal(again[:3], table[:3])


def test_the_codec_hands_out_vectors_of_services() -> None:
    service = next(f for f in layout().token_fields if f.name == "service")
    assert service.vectors is not None
    assert service.vectors.shape == (service.size, 16)
    protocol = service.groups["protocol"]
    first = service.vectors[:, :8]
    assert all(np.unique(first[protocol == p], axis=0).shape[0] == 1 for p in np.unique(protocol))


def test_an_embedding_is_the_sum_over_columns() -> None:
    fields = (TokenField(name="a", size=3), TokenField(name="b", size=4))
    embed = FieldEmbedding(fields, width=8)
    made = embed(torch.tensor([[2, 1]]))[0]
    assert torch.allclose(made, embed.table.weight[2] + embed.table.weight[3 + 1])


def test_columns_of_a_group_agree_in_all_draws() -> None:
    """Token i of b belongs to class i % 2; 4 agrees with any class."""
    first = TokenField(name="a", size=2, groups={"side": np.array([0, 1])})
    second = TokenField(name="b", size=5, groups={"side": np.array([0, 1, 0, 1, -1])})
    torch.manual_seed(0)
    decoder = FieldDecoder((first, second), width=8, hidden=8, dropout=0.0).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        drawn = decoder.sample(torch.randn(2000, 8), torch.zeros(2000, 0).long(), random=random)
    a, b = drawn.unbind(1)
    assert ((b == 4) | (b % 2 == a)).all()
    assert set(b.tolist()) == {0, 1, 2, 3, 4}
    only = {"b": torch.tensor([True, True, False, False, False])}
    with torch.no_grad():
        held = decoder.sample(
            torch.randn(500, 8), torch.zeros(500, 0).long(), random=random, allowed=only
        )
    assert torch.equal(held[:, 0], held[:, 1])


def test_draws_follow_their_logits() -> None:
    """Shares 0.1, 0.2 and 0.7 of 60,000 draws, to five standard deviations."""
    shares = torch.tensor([0.1, 0.2, 0.7])
    drawn = draw(shares.log().expand(60_000, 3), torch.Generator().manual_seed(0))
    seen = torch.bincount(drawn, minlength=3) / 60_000
    assert torch.allclose(seen, shares, atol=5 * (0.25 / 60_000) ** 0.5)
