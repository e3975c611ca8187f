"""The arithmetic of the CPU kernels, beside torch and published values."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from netsynth.generate.transformer import kernels
from netsynth.generate.transformer.number_arrays import from_token, pack_numbers, to_token
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.numbers import fit_number_codec


@pytest.mark.parametrize("x", [-80.0, -3.25, -1e-4, 0.0, 0.3, 1.0, 20.0, 80.0])
def test_the_exponential_is_right_to_float32(x: float) -> None:
    assert kernels.exponential(np.float32(x)) == pytest.approx(math.exp(np.float32(x)), rel=3e-7)


def test_gelu_and_norm_do_what_torch_does() -> None:
    x = torch.linspace(-9, 9, 8 * 40).reshape(8, 40)
    found = x.numpy().copy()
    kernels.gelu(found, 8, 40)
    assert np.abs(found - functional.gelu(x).numpy()).max() < 2e-6
    kernels.normalise(x.numpy(), 8, 40, found)
    assert np.abs(found - functional.layer_norm(x, (40,)).numpy()).max() < 1e-5


@pytest.mark.parametrize("inner", [1, 4, 7])
def test_a_row_of_a_product_is_the_same_whatever_is_beside_it(inner: int) -> None:
    random = np.random.default_rng(inner)
    x = random.standard_normal((8, inner)).astype(np.float32)
    weight = random.standard_normal((inner, 21)).astype(np.float32)
    bias = random.standard_normal(21).astype(np.float32)
    found, turned = np.zeros((8, 21), np.float32), np.zeros((8, 21), np.float32)
    kernels.linear(x, 5, weight, bias, found)
    assert np.abs(found[:5] - (x[:5].astype(np.float64) @ weight + bias)).max() < 1e-5
    kernels.linear(np.ascontiguousarray(x[[3, 0, 1, 2, 4, 5, 6, 7]]), 5, weight, bias, turned)
    assert (turned[0] == found[3]).all()


def test_streams_are_splitmix64() -> None:
    """First outputs of the published algorithm from the state 1234567."""
    streams = np.array([1234567], dtype=np.uint64)
    drawn = [kernels.next_uniform(streams, 0) for _ in range(3)]
    words = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert drawn == [(word >> 11) / 2**53 for word in words]


def test_a_weight_of_zero_is_never_picked() -> None:
    weights = np.array([0, 1, 0, 3, 0], dtype=np.float32)
    assert [kernels.pick(weights, 5, u) for u in (0.0, 0.2499, 0.25, 0.999999)] == [1, 1, 3, 3]
    assert kernels.pick(np.zeros(3, np.float32), 3, 0.5) == -1


def test_numbers_have_the_tokens_that_the_tables_give() -> None:
    values = np.concatenate([np.full(50, 7.0), np.full(50, 40.0), np.geomspace(1, 1e6, 400)])
    tables = NumberTable(fit_number_codec(values)), NumberTable(fit_number_codec(np.full(9, 3.0)))
    arrays = pack_numbers(tables)
    asked = np.concatenate([values, [0.0, 6.9, 1e9]])
    for part, table in enumerate(tables):
        expected = table.bucket(torch.as_tensor(asked)).tolist()
        assert [to_token(arrays, part, value) for value in asked] == expected
        for token in range(table.size):
            assert from_token(arrays, part, token, 0.5) == pytest.approx(
                float(table.rows[token, 4])
            )
