"""The networks: their sizes in the paper, the gradient penalty, and what is cut from what."""

import numpy as np
import pytest
import torch

from netsynth.dataset import CATEGORICAL, NUMERIC, Column, SeriesSchema
from netsynth.generate.doppelganger import DoppelgangerConfig, DoppelgangerGenerator
from netsynth.generate.doppelganger.networks import Critic, activate, harden
from netsynth.generate.doppelganger.training import critic_step


def web_schema(max_length: int = 550) -> SeriesSchema:
    """Metadata of 9, 3 and 2 categories and one measurement, as the paper's page views."""
    return SeriesSchema(
        metadata=tuple(
            Column(name=f"m{count}", kind=CATEGORICAL, values=tuple("abcdefghi"[:count]))
            for count in (9, 3, 2)
        ),
        measurements=(Column(name="views", kind=NUMERIC, low=0, high=1),),
        max_length=max_length,
    )


def generator(max_length: int = 550, **settings: object) -> DoppelgangerGenerator:
    config = DoppelgangerConfig(**settings)  # type: ignore[arg-type]
    return DoppelgangerGenerator(schema=web_schema(max_length), config=config)


def test_as_many_parameters_as_published() -> None:
    networks = generator().networks
    counts = {n: sum(p.numel() for p in net.parameters()) for n, net in networks.items()}
    assert counts == {"generators": 77_749, "critic": 454_201, "auxiliary": 124_201}


@pytest.mark.parametrize(("length", "patch"), [(550, 11), (56, 1), (2500, 50), (7, 1)])
def test_a_series_takes_about_fifty_steps(length: int, patch: int) -> None:
    assert generator(length).generators.patch == patch


def test_the_start_of_the_weights() -> None:
    lstm = generator(20).generators.lstm
    forget = lstm.bias_ih_l0[100:200] + lstm.bias_hh_l0[100:200]
    assert (forget == 1).all()
    assert (lstm.bias_ih_l0[:100] == 0).all()
    inputs = lstm.input_size
    bound = np.sqrt(6 / ((inputs + 100) + 400))  # Glorot, of one matrix (inputs + 100) x 400
    for weight in (lstm.weight_hh_l0, lstm.weight_ih_l0):
        assert 0.95 * bound < weight.abs().max() <= bound


def test_the_penalty_of_a_linear_critic_by_hand() -> None:
    """Weights 3 and 4 give a slope of 5 wherever all units are active: penalty (5 - 1)^2."""
    critic = Critic(inputs=2, hidden=1)
    for layer in (critic.first, *critic.inner, critic.last):
        assert isinstance(layer, torch.nn.Linear)
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    with torch.no_grad():
        critic.first.weight.copy_(torch.tensor([[3.0, 4.0]]))
    real, fake = torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [-9.0, 0.0]])
    of_real, of_fake, norm = critic.judge(real, fake, torch.tensor([[0.5], [0.5]]))
    assert of_real.tolist() == [7, 3]
    assert of_fake.tolist() == [6, 0]
    assert norm.tolist() == [5, 0]  # a sample each: between 1 and -9 the unit is off
    optimiser = torch.optim.SGD(critic.parameters(), lr=0.0)
    found = critic_step(critic, optimiser, real[:1], fake[:1], DoppelgangerConfig(),
                        torch.Generator().manual_seed(0))  # fmt: skip
    assert found == (1.0, 16.0)


def test_the_slope_is_autograds() -> None:
    torch.manual_seed(0)
    critic = Critic(inputs=6, hidden=32).double()
    real, fake = torch.randn(5, 6).double(), torch.randn(5, 6).double()
    share = torch.rand(5, 1).double()
    point = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(point).sum(), point, create_graph=True)
    expected = slope.norm(dim=1)
    weights = list(critic.parameters())
    by_two = torch.autograd.grad((expected - 1).square().mean(), weights, allow_unused=True)
    _, _, norm = critic.judge(real, fake, share)
    by_hand = torch.autograd.grad((norm - 1).square().mean(), weights, allow_unused=True)
    assert torch.allclose(norm, expected)
    for one, other in zip(by_hand, by_two, strict=True):
        zero = torch.zeros((), dtype=torch.float64)
        assert torch.allclose(zero if one is None else one, zero if other is None else other)


def test_units_and_one_hots() -> None:
    widths = [("softmax", 2), ("tanh", 1), ("sigmoid", 1)]
    x = torch.tensor([[0.0, np.log(3), 0.5, 0.0]], requires_grad=True)
    soft = activate(x, widths)
    assert soft[0].tolist() == pytest.approx([0.25, 0.75, np.tanh(0.5), 0.5])
    hard = harden(soft, widths)
    assert hard[0].tolist() == pytest.approx([0, 1, np.tanh(0.5), 0.5])
    assert not hard.requires_grad


def test_later_networks_send_no_gradient_into_earlier_ones() -> None:
    made_by = generator(20).generators.train()
    made = made_by(8, torch.Generator().manual_seed(0))
    made.series.sum().backward()
    assert made_by.metadata is not None
    assert made_by.ranges is not None
    assert all(
        p.grad is None for p in [*made_by.metadata.parameters(), *made_by.ranges.parameters()]
    )
    assert made_by.record.weight.grad is not None
    assert set(made.fixed.unique().tolist()) == {0, 1}
    assert made.fixed[:, :9].sum(1).tolist() == [1] * 8
    assert not torch.equal(made.fixed, made.metadata)  # critics see the soft ones


def test_nothing_stands_behind_the_end() -> None:
    made = generator(20).generators(50, torch.Generator().manual_seed(0))
    ends = ~made.goes_on
    assert ends.any()
    for row in range(50):
        active = made.series[row].abs().sum(1) > 0
        first = int(ends[row].int().argmax()) if ends[row].any() else 19
        assert active.tolist() == [step <= first for step in range(20)]


def test_the_initial_state_is_noise() -> None:
    made = generator(20)
    one, other = (made.generators(4, torch.Generator().manual_seed(s)) for s in (1, 2))
    assert not torch.allclose(one.series[:, 0], other.series[:, 0])
    lstm_state = []
    made.generators.lstm.register_forward_hook(lambda _m, inputs, _o: lstm_state.append(inputs[1]))
    made.generators(2000, torch.Generator().manual_seed(3))
    for state in lstm_state[0]:
        assert abs(float(state.mean())) < 0.02
        assert float(state.std()) == pytest.approx(1, abs=0.02)
