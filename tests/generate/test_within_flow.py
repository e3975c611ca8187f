"""Details of a flow that go together: found again, drawn again, and never beyond what can be."""

import numpy as np
import pytest
import torch

from netsynth.generate.transformer.couplings import GROUPS, SCALES, Couplings, FlowScores
from netsynth.generate.transformer.within_flow import correlations, roots, shrunk_to_fit

NAMES = ("gap", "label", "service", "shape", "responder", "initiator")
WINDOW_NS = 1_000_000_000


def test_correlations_of_scores_that_tell_a_half() -> None:
    """Where scores keep half of a normal number's variance, products are a quarter as large."""
    random = np.random.default_rng(0)
    first, noise = random.standard_normal((2, 20_000))
    second = 0.6 * first + 0.8 * noise
    score = np.column_stack([first, second]) / 2
    found = correlations(score, np.full(score.shape, 0.25))
    assert np.diag(found) == pytest.approx([1, 1])
    assert found[0, 1] == found[1, 0] == pytest.approx(0.95)  # 4 times 0.6 is more than can be
    found = correlations(score, np.full(score.shape, 0.5))
    assert found[0, 1] == pytest.approx(0.6, abs=0.03)


def test_chance_is_no_correlation() -> None:
    score = np.random.default_rng(1).standard_normal((500, 6))
    assert np.array_equal(correlations(score, np.ones(score.shape)), np.eye(6))


def test_what_cannot_be_a_covariance_is_made_one() -> None:
    """Three that each go against both others by 0.9 cannot be; by 0.5 is as far as it goes."""
    impossible = np.full((3, 3), -0.9) + 1.9 * np.eye(3)
    found = shrunk_to_fit(impossible, np.ones(3))
    assert found[0, 1] == pytest.approx(-0.49, abs=0.011)
    assert np.linalg.eigvalsh(found)[0] > 0
    possible = np.array([[4.0, 1.0], [1.0, 9.0]])
    assert shrunk_to_fit(possible, np.array([4.0, 9.0])) == pytest.approx(possible)
    assert np.array_equal(shrunk_to_fit(possible, np.array([0.0, 9.0])), np.diag([0.0, 9.0]))


def test_a_pair_that_is_too_close_leaves_others_as_they_are() -> None:
    """Of variances 0.2, 0.2 and 1, where the first two have 0.7: 0.95 times 0.2 is the most."""
    matrix = np.array([[0.2, 0.7, 0.1], [0.7, 0.2, 0.1], [0.1, 0.1, 1.0]])
    found = shrunk_to_fit(matrix, np.array([0.2, 0.2, 1.0]))
    assert found[0, 1] == pytest.approx(0.19)
    assert found[0, 2] == pytest.approx(0.1)


def test_roots_squared_are_the_covariances() -> None:
    covariance = torch.tensor([[[2.0, 0.5], [0.5, 1.0]], [[4.0, 0.0], [0.0, 9.0]]])
    root = roots(covariance)
    assert torch.allclose(root @ root, covariance.double())
    assert root[1].tolist() == [[2.0, 0.0], [0.0, 3.0]]


def test_flows_are_drawn_as_they_were_learned() -> None:
    """A service whose two details go together by 0.6, one of which goes on; another's do not."""
    random = np.random.default_rng(2)
    count = 20_000
    tokens = torch.zeros(count, len(NAMES), dtype=torch.int64)
    tokens[:, NAMES.index("service")] = torch.as_tensor(random.integers(2, size=count))
    start = torch.as_tensor(np.sort(random.random(count)) * count * 1e5)
    noise = random.standard_normal((count, 2))
    together = np.where(tokens[:, NAMES.index("service")] == 0, 0.6, 0.0)
    noise[:, 1] = together * noise[:, 0] + np.sqrt(1 - together**2) * noise[:, 1]
    score = torch.as_tensor(noise)
    learned = Couplings(NAMES, ("answer", "reply"), services=2)
    flows = FlowScores(tokens=tokens, start_ns=start, score=score, spread=torch.ones_like(score))
    learned.learn([flows], window_ns=WINDOW_NS)
    learned.weights[:, 0, GROUPS.index(()), SCALES.index(1e-3)] = 0.3
    generator = torch.Generator().manual_seed(0)
    drawn = learned.draw(
        tokens, torch.zeros(count, dtype=torch.int64), start, window_ns=WINDOW_NS,
        normal=lambda _: torch.randn(count, generator=generator, dtype=torch.float64),
    )  # fmt: skip
    scores = torch.stack([torch.special.ndtri(drawn[name]) for name in ("answer", "reply")])
    for service, expected in ((0, 0.6), (1, 0.0)):
        own = scores[:, tokens[:, NAMES.index("service")] == service].numpy()
        assert own.std(axis=1) == pytest.approx([1, 1], abs=0.05)
        assert np.corrcoef(own)[0, 1] == pytest.approx(expected, abs=0.05)
