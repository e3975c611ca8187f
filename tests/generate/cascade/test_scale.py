"""Numbers to images and back."""

import numpy as np

from netsynth.generate.cascade.scale import Scale, fit_scale


def test_images_rise_from_minus_one_to_one_and_come_back() -> None:
    values = np.array([0, 0, 0, 1, 5, 40, 1448, 1448, 10**9], dtype=float)
    scale = fit_scale(values)
    images = scale.encode(np.unique(values))
    assert images[0] == -1
    assert images[-1] == 1
    assert (np.diff(images) > 0).all()
    assert np.allclose(scale.decode(images), np.unique(values))
    assert scale.largest == 10**9


def test_half_of_an_image_is_rank_and_half_logarithm() -> None:
    # log(1 + x) is 0, 1, 2 times log 10; each value has a third of the ranks
    scale = fit_scale(np.repeat([0.0, 9.0, 99.0], 1000))
    assert np.allclose(scale.encode([0, 9, 99]), [-1, 0, 1], atol=0.02)


def test_what_was_never_seen_goes_to_the_ends() -> None:
    scale = fit_scale(np.array([10.0, 100.0]))
    assert scale.encode([0, 10**6]).tolist() == [-1, 1]
    assert np.allclose(scale.decode([-5, 5]), [10, 100])


def test_one_value_or_none_is_zero() -> None:
    assert fit_scale(np.array([7.0, 7.0])).encode([7, 9]).tolist() == [0, 0]
    assert fit_scale(np.zeros(0)).encode([1]).tolist() == [0]


def test_arrays_restore_a_scale() -> None:
    scale = fit_scale(np.arange(50.0))
    again = Scale.from_arrays("x", scale.to_arrays("x"))
    assert np.array_equal(scale.encode(np.arange(50)), again.encode(np.arange(50)))
