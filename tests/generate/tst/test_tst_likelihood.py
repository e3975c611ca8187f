"""The likelihood model: what it may see, its cache, its ends, and a real short training."""

import dataclasses

import numpy as np
import pytest
import torch
from tst_datasets import SCHEMA, jobs

from netsynth.dataset import SeriesDataset
from netsynth.errors import ConfigError, ModelError
from netsynth.generate.tst import TstConfig, TstGenerator
from netsynth.generate.tst.fit import SeriesBatches, choose_parents
from netsynth.generate.tst.layers import NumberHead
from netsynth.generate.tst.likelihood import Batch, SeriesTransformer
from netsynth.generate.tst.tokens import fit_series_tokens
from netsynth.generate.tst.totals import TotalCodec, fit_total_codec

CONFIG = TstConfig(width=32, hidden=48, patch=2, max_epochs=25, batch=32)


@pytest.fixture(scope="module")
def fitted() -> TstGenerator:
    made = TstGenerator(schema=SCHEMA, config=CONFIG, seed=1)
    made.fit(jobs(), seed=1)
    return made


def one(made: TstGenerator, count: int, **wanted: object) -> SeriesDataset:
    (part,) = made.sample(count, seed=5, **wanted)  # type: ignore[arg-type]
    return part


def network(*periods: float) -> tuple[SeriesTransformer, SeriesBatches]:
    tokens = dataclasses.replace(fit_series_tokens(jobs(), CONFIG), periods=periods)
    torch.manual_seed(0)
    return SeriesTransformer(tokens, CONFIG).eval(), SeriesBatches(tokens, jobs())


def states(net: SeriesTransformer, batch: Batch) -> torch.Tensor:
    active = torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
    cells = [net._embed(k, batch.tokens[..., k], batch.numbers[..., k]) for k in range(3)]
    return net._states(batch.prefix, sum(cells) * active[..., None], batch.progress)


def test_a_changed_future_moves_nothing_before() -> None:
    net, data = network()
    batch = data.batch(np.array([0, 5, 10]), torch.device("cpu"))  # long ones
    changed = batch.tokens.clone()
    changed[:, 6:, 2] = 1 - changed[:, 6:, 2]  # from the fourth patch of two on
    other = dataclasses.replace(batch, tokens=changed)
    before, after = states(net, batch), states(net, other)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_what_lies_behind_the_end_moves_nothing() -> None:
    net, data = network()
    batch = data.batch(np.array([0, 1, 2]), torch.device("cpu"))
    tokens, numbers = batch.tokens.clone(), batch.numbers.clone()
    for row, length in enumerate(batch.lengths.tolist()):
        tokens[row, length:] = 1
        numbers[row, length:] = 3.0
    other = dataclasses.replace(batch, tokens=tokens, numbers=numbers)
    assert torch.equal(net.loss(batch), net.loss(other))


def test_the_cache_gives_what_a_whole_pass_gives() -> None:
    net, data = network()
    batch = data.batch(np.array([0, 5, 10, 15]), torch.device("cpu"))
    whole = states(net, batch)  # [B, T/S, H]
    active = torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
    record = sum(net._embed(k, batch.tokens[..., k], batch.numbers[..., k]) for k in range(3))
    record = record * active[..., None]
    state, cache = net.start(batch.prefix, whole.shape[1])
    for patch in range(whole.shape[1]):
        assert torch.allclose(state, whole[:, patch], atol=1e-5)
        if patch + 1 < whole.shape[1]:
            cells = record[:, 2 * patch : 2 * patch + 2]
            state = net.step(cells, batch.progress[:, patch + 1], cache)


@pytest.mark.parametrize("periods", [(), (7.0, 3.0)])
def test_drawing_sees_what_training_saw(periods: tuple[float, ...]) -> None:
    net, data = network(*periods)
    batch = data.batch(np.array([0]), torch.device("cpu"))
    seen: list[torch.Tensor] = []
    net.decode_norm[0].register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    net.loss(batch)
    (trained,) = seen  # [M, H], before the first measurement of each record
    cells = [net._embed(k, batch.tokens[..., k], batch.numbers[..., k]) for k in range(3)]
    record = sum(cells)[0]  # [T, H]
    state, cache = net.start(batch.prefix, 6)
    seen.clear()
    for place in range(len(trained)):
        if place and place % 2 == 0:
            read = record[None, place - 2 : place]
            state = net.step(read, batch.progress[:, place // 2], cache)
        earlier = [record[None, place - back] for back in range(1, min(place, 8) + 1)]
        kind = net.kinds(batch.prefix)
        net.draw_record(state, kind, place, earlier, torch.Generator().manual_seed(0))
    assert torch.allclose(torch.cat(seen), trained, atol=1e-5)


def test_a_series_ends_within_its_bucket_and_never_before_its_first_record() -> None:
    net, _ = network()
    state = torch.zeros(3, 32)
    within = torch.tensor([[1, 12], [3, 5], [2, 2]])
    start = net._end_logits(state, torch.zeros(3, dtype=torch.int64), within) > -1e8
    # 0, 1 or 2 records in the first patch; two may also mean that more follow
    assert start.tolist() == [[False, True, True], [False, False, True], [False, False, True]]
    later = net._end_logits(state, torch.full((3,), 4), torch.tensor([[1, 12], [3, 5], [4, 4]]))
    assert (later > -1e8).tolist() == [
        [True, True, True],
        [True, True, False],
        [True, False, False],
    ]


def test_a_mixture_of_one_is_the_logistic_distribution() -> None:
    head = NumberHead(inputs=1, mixtures=1)
    with torch.no_grad():
        head.project.weight.zero_()
        head.project.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 2.0, 0.5]))  # gate, share, mean, scale
    x = torch.zeros(2, 1)
    loss = head.loss(x, torch.tensor([1, 0]), torch.tensor([3.0, 0.0]))
    from scipy.stats import logistic

    assert loss[0].item() == pytest.approx(
        np.log(2) - logistic.logpdf(3, loc=2, scale=np.exp(0.5)), abs=1e-5
    )
    assert loss[1].item() == pytest.approx(np.log(2))
    _, drawn = head.sample(torch.zeros(20_000, 1), torch.Generator().manual_seed(0))
    some = drawn[drawn != 0].detach().numpy()
    assert np.median(some) == pytest.approx(2, abs=0.1)
    assert np.quantile(some, 0.75) - 2 == pytest.approx(np.log(3) * np.exp(0.5), abs=0.15)


def test_numbers_are_drawn_within_bounds_without_piling_up_there() -> None:
    head = NumberHead(inputs=1, mixtures=1, low=-1.0, high=2.0)
    with torch.no_grad():
        head.project.weight.zero_()
        head.project.bias.copy_(torch.tensor([-50.0, 50.0, 0.0, 2.0, 0.0]))  # never zero
    _, drawn = head.sample(torch.zeros(20_000, 1), torch.Generator().manual_seed(0))
    assert drawn.min() >= -1
    assert drawn.max() <= 2
    assert drawn.unique().numel() > 19_000
    from scipy.stats import logistic

    middle = (logistic.cdf(-1, loc=2) + logistic.cdf(2, loc=2)) / 2
    assert drawn.median().item() == pytest.approx(logistic.ppf(middle, loc=2), abs=0.03)


def test_where_no_zero_was_learned_none_is_drawn_and_the_gate_costs_nothing() -> None:
    head = NumberHead(inputs=1, mixtures=1, has_zeros=False)
    with torch.no_grad():
        head.project.weight.zero_()
        head.project.bias.copy_(torch.tensor([50.0, -50.0, 0.0, 0.0, 0.0]))  # the gate says zero
    token, drawn = head.sample(torch.zeros(1000, 1), torch.Generator().manual_seed(0))
    assert (token == 1).all()
    assert drawn.unique().numel() > 990
    loss = head.loss(torch.zeros(1, 1), torch.ones(1, dtype=torch.int64), torch.zeros(1))
    assert loss.item() == pytest.approx(np.log(4))  # the logistic density at 0 is 1/4


def test_totals_are_ranks_within_their_group() -> None:
    codec = TotalCodec(
        group_place=0,
        edges=np.array([0, 0.5, 1]),
        ranks=np.array([0, 0.5, 1]),
        totals=np.array([[0.0, 10, 20], [100, 200, 400]]),
    )
    metadata = np.array([[0.0], [0], [1], [1]])
    assert codec.encode(np.array([4.0, 12, 150, 399]), metadata).tolist() == [0, 1, 0, 1]
    made = codec.decode(np.array([0, 1, 0, 1]), metadata, np.array([0, 0.5, 0.5, 1]))
    assert made.tolist() == [0, 15, 150, 400]


def test_groups_are_used_where_they_tell_something() -> None:
    random = np.random.default_rng(0)
    group = np.arange(400) % 2
    others = np.ones(400, dtype=np.int64), group[:, None].astype(np.float64), [(0, 2)]
    apart = fit_total_codec(random.random(400) + 5 * group, *others, bins=8)
    alike = fit_total_codec(random.random(400), *others, bins=8)
    assert (apart.group_place, alike.group_place) == (0, -1)
    assert apart.totals[0, -1] < 1.01
    assert apart.totals[1, 0] > 4.99


def test_means_are_told_where_totals_follow_from_the_length() -> None:
    random = np.random.default_rng(0)
    lengths, nothing = 1 + np.arange(400) % 40, np.zeros((400, 0))
    shares = random.random(400)
    rates = fit_total_codec(shares * lengths, lengths, nothing, [], bins=8)
    sizes = fit_total_codec(shares, lengths, nothing, [], bins=8)
    even = fit_total_codec(shares, np.full(400, 7), nothing, [], bins=8)
    assert (rates.is_mean, sizes.is_mean, even.is_mean) == (True, False, False)
    assert rates.totals[0, -1] <= 1 < sizes.totals[0, -1] + 1e-2
    back = TotalCodec.from_arrays("x", rates.to_arrays("x"))
    assert back.is_mean


def test_a_drawn_mean_is_a_total_of_the_records_drawn() -> None:
    tokens = fit_series_tokens(jobs(), CONFIG)
    means = dataclasses.replace(tokens.totals[0], is_mean=True)
    told = dataclasses.replace(tokens, totals=(means, *tokens.totals[1:]))
    prefix, metadata = tokens.encode_prefix(jobs()), jobs().metadata
    half, three = np.full((len(prefix), len(tokens.totals)), 0.5), np.full(len(prefix), 3)
    before = tokens.draw_totals(prefix, metadata, three, half)
    after = told.draw_totals(prefix, metadata, three, half)
    assert after[:, 0] == pytest.approx(before[:, 0] * (1 if tokens.totals[0].is_mean else 3))
    assert np.array_equal(after[:, 1:], before[:, 1:])


def test_parents_are_those_that_save_nats_of_samples_left_out() -> None:
    tokens = fit_series_tokens(jobs(), CONFIG)
    parents = choose_parents(tokens.prefix_fields, tokens.encode_prefix(jobs()))
    assert parents["records"][:2] == (("~metadata end",), ("metadata end",))
    assert parents["metadata rate"] == ()  # independent of all


def test_it_learns_what_goes_with_what(fitted: TstGenerator) -> None:
    made, real = one(fitted, 600), jobs()
    killed = made.metadata[:, 0] == 1
    assert killed.mean() == pytest.approx(0.2, abs=0.06)
    assert np.isin(made.lengths[killed], (9, 10, 11, 12)).mean() > 0.97
    assert np.isin(made.lengths[~killed], (1, 2, 3)).mean() > 0.97
    long = real.metadata[:, 0] == 1
    for place in (0, 1):
        for mine, true in ((killed, long), (~killed, ~long)):
            expected = real.totals(place)[true].mean()
            assert made.totals(place)[mine].mean() == pytest.approx(expected, rel=0.2)
    of = killed[made.sample_of_record]
    assert made.values[of, 2].mean() > 0.75 > 0.25 > made.values[~of, 2].mean()
    assert (made.values[:, 0] == np.round(made.values[:, 0])).all()


def test_known_metadata_are_clamped(fitted: TstGenerator) -> None:
    wanted = np.full((1000, 2), np.nan)
    wanted[:, 0] = 1
    made = one(fitted, 1000, metadata=wanted)
    assert len(made) == 1000
    assert (made.metadata[:, 0] == 1).all()
    assert (made.lengths >= 9).mean() > 0.97
    exact = one(fitted, 50, metadata=np.tile([0, 2.5], (50, 1)), lengths=np.full(50, 7))
    assert (exact.metadata == [0, 2.5]).all()
    assert (exact.lengths == 7).all()


def test_the_same_seed_draws_the_same_and_parts_restore_it(fitted: TstGenerator) -> None:
    header, arrays = fitted.to_parts()
    again = TstGenerator.from_parts(header, arrays, schema=SCHEMA)
    assert np.array_equal(one(again, 40).values, one(fitted, 40).values)
    assert header["outcomes"]["series"]["held_out_nats"] < 10
    with pytest.raises(ModelError, match="fit it again"):
        TstGenerator.from_parts(header, {k: v for k, v in arrays.items() if k != "series.bos"},
                                schema=SCHEMA)  # fmt: skip
    with pytest.raises(ConfigError, match="sample --metadata"):
        fitted.retrain_metadata(np.zeros((1, 2)), seed=0)


def test_settings_out_of_range_are_named() -> None:
    for settings in ({"width": 30}, {"dropout": 1.0}, {"mode": "gan"}, {"held_out": 0.95}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            TstConfig(**settings)  # type: ignore[arg-type]
