"""Normal scores by hand, weights found again, and flows that are alike but distributed as ever."""

import math

import numpy as np
import pytest
import torch

from netsynth.generate.transformer.choosing import at_quantile
from netsynth.generate.transformer.couplings import (
    GROUPS,
    SCALES,
    Couplings,
    FlowScores,
    decaying_sums,
    normal_scores,
)
from netsynth.generate.transformer.fields import token_order
from netsynth.generate.transformer.kernels import uniforms
from netsynth.numbers import fit_number_codec
from netsynth.tables import TokenField

NAMES = ("gap", "label", "service", "shape", "responder", "initiator")
WINDOW_NS = 1_000_000_000
HALF = math.sqrt(2 / math.pi)  # mean of a standard normal number above 0


def test_scores_of_two_halves_by_hand() -> None:
    score, spread = normal_scores(torch.zeros(2, 2), torch.tensor([0, 1]))
    assert score.tolist() == pytest.approx([-HALF, HALF])
    assert spread.tolist() == pytest.approx([HALF**2, HALF**2])


def test_a_token_that_is_certain_tells_nothing() -> None:
    score, spread = normal_scores(torch.tensor([[-1e9, 0.0, -1e9]]), torch.tensor([1]))
    assert score.tolist() == pytest.approx([0.0], abs=1e-9)
    assert spread.tolist() == pytest.approx([0.0], abs=1e-9)


def test_scores_are_finite_where_the_model_is_sure_of_something_else() -> None:
    score, spread = normal_scores(torch.tensor([[0.0, -1e9], [-60.0, 0.0]]), torch.tensor([1, 0]))
    assert torch.isfinite(score).all()
    assert torch.isfinite(spread).all()


def test_decaying_sums_one_by_one() -> None:
    random = np.random.default_rng(0)
    keep, added = random.random(257), random.standard_normal(257)
    keep[[0, 100, 101]] = 0
    expected, last = [], 0.0
    for share, more in zip(keep, added, strict=True):
        last = share * last + more
        expected.append(last)
    found = decaying_sums(torch.as_tensor(keep), torch.as_tensor(added))
    assert found.tolist() == pytest.approx(expected)


def test_quantiles_point_at_tokens() -> None:
    """Of shares 0.25, 0.5 and 0.25, and of a token that is ruled out."""
    shares = torch.tensor([0.25, 0.5, 0.25]).log().expand(5, 3)
    quantile = torch.tensor([0.0, 0.2, 0.3, 0.8, 0.999])
    assert at_quantile(shares, quantile).tolist() == [0, 0, 1, 2, 2]
    ruled_out = torch.tensor([[0.0, 0.0, -1e9]])
    assert at_quantile(ruled_out, torch.tensor([1.0])).tolist() == [1]
    too_late = torch.tensor([[-1e9, -1e8, -1e8]])  # all of them, and the first is impossible
    assert at_quantile(too_late, torch.tensor([0.0])).tolist() == [1]


def test_uniform_numbers_have_a_normal_score() -> None:
    ends = uniforms(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert (ends > 0).all()
    assert (ends < 1).all()


def test_tokens_lie_in_the_order_of_their_numbers() -> None:
    """Atoms 5 and 7 come before the bins around them, "none" before all."""
    values = np.concatenate([np.repeat([5.0, 7.0], 400), np.linspace(1, 40, 300)])
    number = fit_number_codec(values, bin_count=8, atom_count=2, atom_share=0.1)
    order = token_order(TokenField(name="x", size=number.size + 1, number=number)).numpy()
    middle = ((number.low + number.high) / 2)[order[1:] - 1]
    assert order[0] == 0
    assert (np.diff(middle) >= 0).all()
    assert not (order == np.arange(order.size)).all()


@pytest.mark.parametrize("beside", [0, 3000])
def test_a_window_is_drawn_alike_whatever_is_drawn_beside_it(beside: int) -> None:
    """Beside a window that is 10,000 times as dense, bit for bit."""
    tokens, start = flows(3000)
    made = couplings()
    made.weights[:, 0, :3] = 0.02
    noise = torch.randn(40, 6000, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    window = torch.zeros_like(tokens[:, 0])
    alone = made.draw(
        tokens, window, start, window_ns=WINDOW_NS, normal=lambda source: noise[source, :3000]
    )["answer"]
    several = made.draw(
        tokens.repeat(2, 1)[: 3000 + beside],
        torch.cat([window, window + 1])[: 3000 + beside],
        torch.cat([start, start / 10_000])[: 3000 + beside],
        window_ns=WINDOW_NS,
        normal=lambda source: noise[source, : 3000 + beside],
    )["answer"]
    assert torch.equal(alone, several[:3000])


def flows(count: int, *, services: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Skeletons int64 [F, 6] of four hosts, and starts float64 [F], 0.1 ms apart on average."""
    random = np.random.default_rng(1)
    tokens = np.zeros((count, len(NAMES)), dtype=np.int64)
    tokens[:, NAMES.index("service")] = random.integers(services, size=count)
    for name in ("responder", "initiator"):
        tokens[:, NAMES.index(name)] = random.integers(4, size=count)
    start = np.sort(random.random(count)) * count * 1e5
    return torch.as_tensor(tokens), torch.as_tensor(start)


def couplings(services: int = 2) -> Couplings:
    return Couplings(NAMES, ("answer", "reply"), services=services)


def drawn(made: Couplings, tokens: torch.Tensor, start: torch.Tensor) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    return made.draw(
        tokens, torch.zeros_like(tokens[:, 0]), start, window_ns=WINDOW_NS,
        normal=lambda _: torch.randn(start.shape, generator=random, dtype=torch.float64),
    )  # fmt: skip


def scores(quantile: torch.Tensor, tokens: torch.Tensor, start: torch.Tensor) -> FlowScores:
    """As if tokens were as fine as quantiles; a second detail is noise."""
    random = torch.Generator().manual_seed(4)
    noise = torch.randn(start.shape, generator=random, dtype=torch.float64)
    score = torch.stack([torch.special.ndtri(quantile), noise], dim=1)
    return FlowScores(tokens=tokens, start_ns=start, score=score, spread=torch.ones_like(score))


def test_quantiles_are_uniform_and_alike_for_a_while() -> None:
    tokens, start = flows(20_000)
    made = couplings()
    made.weights[:, 0, 0, SCALES.index(1e-3)] = 0.8  # all flows, for a millisecond
    quantile = drawn(made, tokens, start)
    assert set(quantile) == {"answer"}
    score = torch.special.ndtri(quantile["answer"])
    assert abs(float(score.mean())) < 0.1
    assert abs(float(score.std()) - 1) < 0.05
    for low, high in ((0, 5e4), (9e5, 1.1e6), (1e7, 2e7)):
        apart, product = [], []
        for lag in (1, 2, 5, 10, 15, 150):
            between = start[lag:] - start[:-lag]
            some = (between >= low) & (between < high)
            apart.append(between[some])
            product.append((score[lag:] * score[:-lag])[some])
        expected = 0.8 * float(torch.exp(-torch.cat(apart) / (1e-3 * WINDOW_NS)).mean())
        assert abs(float(torch.cat(product).mean()) - expected) < 0.08


def test_what_follows_no_process_is_left_alone() -> None:
    tokens, start = flows(3000)
    made = couplings()
    random = torch.Generator().manual_seed(5)
    quantile = torch.rand(start.shape, generator=random, dtype=torch.float64)
    made.learn([scores(quantile, tokens, start)], window_ns=WINDOW_NS)
    assert float(made.weights.sum((2, 3)).max()) < 0.05


@pytest.mark.parametrize("group", [(), ("responder",), ("service", "initiator", "responder")])
def test_processes_are_found_again(group: tuple[str, ...]) -> None:
    tokens, start = flows(12_000)
    true = couplings()
    true.weights[:, 0, GROUPS.index(group), SCALES.index(1e-2)] = 0.6
    found = couplings()
    quantile = drawn(true, tokens, start)["answer"]
    found.learn([scores(quantile, tokens, start)], window_ns=WINDOW_NS)
    assert float(found.weights[:, 1].sum()) < 0.1
    weights = found.weights[0, 0].numpy()
    assert 0.4 < weights[GROUPS.index(group)].sum() < 0.75
    assert weights.sum() < 0.85
    near = [SCALES.index(scale) for scale in (1e-3, 1e-2, 1e-1)]
    assert weights[:, near].sum() > 0.7 * weights.sum()


def test_a_service_of_its_own_kind_is_told_by_itself() -> None:
    """Service 0 goes on, service 1 does not."""
    tokens, start = flows(6000)
    true = couplings()
    own = GROUPS.index(("service",))
    true.weights[0, 0, own, SCALES.index(1e-2)] = 0.7
    found = couplings()
    quantile = drawn(true, tokens, start)["answer"]
    found.learn([scores(quantile, tokens, start)], window_ns=WINDOW_NS)
    sums = found.weights[:, 0].sum((1, 2))
    assert float(sums[0]) > 0.4
    assert float(sums[1]) < 0.1


def test_rare_services_take_no_likeness_from_others() -> None:
    """Two services that go on, one of 40 flows that does not."""
    tokens, start = flows(6000)
    rare = torch.arange(6000) % 150 == 7
    tokens[rare, NAMES.index("service")] = 2
    true = couplings(3)
    true.weights[:2, 0, GROUPS.index(("service",)), SCALES.index(1e-2)] = 0.7
    quantile = drawn(true, tokens, start)["answer"]
    found = couplings(3)
    found.learn([scores(quantile, tokens, start)], window_ns=WINDOW_NS)
    sums = found.weights[:, 0].sum((1, 2))
    assert float(sums[:2].min()) > 0.4
    assert float(sums[2]) < 0.1


def test_windows_share_no_process() -> None:
    made = couplings()
    made.weights[:, 0, 0, SCALES.index(100.0)] = 0.98
    tokens, start = flows(4000)
    window = torch.arange(4000) % 2
    random = torch.Generator().manual_seed(6)
    quantile = made.draw(
        tokens, window, start, window_ns=WINDOW_NS,
        normal=lambda _: torch.randn(start.shape, generator=random, dtype=torch.float64),
    )["answer"]  # fmt: skip
    score = torch.special.ndtri(quantile)
    means = [float(score[window == w].mean()) for w in (0, 1)]
    assert all(float(score[window == w].std()) < 0.3 for w in (0, 1))
    assert abs(means[0] - means[1]) > 0.05


def test_no_flows_no_quantiles() -> None:
    made = couplings()
    made.weights[:, 0, 0, 0] = 0.5
    tokens, start = flows(1)
    assert drawn(made, tokens[:0], start[:0])["answer"].numel() == 0
    assert drawn(made, tokens, start)["answer"].numel() == 1
