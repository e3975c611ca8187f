"""Which arithmetic a device gets, that training survives it, and that compiling changes nothing."""

import pytest
import torch
from cascade_fits import SMALL, fresh

from netsynth.errors import ConfigError
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.pairs import PAIRS
from netsynth.generate.cascade.precision import (
    autocast,
    autocast_dtype,
    compile_generators,
    forked_random,
)
from netsynth.generate.cascade.training import Phase

CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")
CASES = [
    (CPU, "auto", True, None),
    (CPU, "float32", True, None),
    (CPU, "bfloat16", False, torch.bfloat16),  # a CPU computes it, with or without support
    (CUDA, "auto", True, torch.bfloat16),
    (CUDA, "auto", False, None),
    (CUDA, "float32", True, None),
    (CUDA, "bfloat16", True, torch.bfloat16),
]


@pytest.mark.parametrize(("device", "precision", "has", "dtype"), CASES)
def test_a_device_gets_the_type_it_can(
    device: torch.device, precision: str, has: bool, dtype: torch.dtype | None
) -> None:
    assert autocast_dtype(device, precision, has_bfloat16=lambda: has) == dtype


def test_bfloat16_asked_of_a_device_without_it_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"cuda:1 lacks bfloat16; set cascade\.precision"):
        autocast_dtype(CUDA, "bfloat16", has_bfloat16=lambda: False)


def test_products_take_the_type_and_only_inside() -> None:
    x = torch.ones(2, 2)
    with autocast(CPU, "bfloat16"):
        assert (x @ x).dtype == torch.bfloat16
    with autocast(CPU, "auto"):
        assert (x @ x).dtype == torch.float32
    assert (x @ x).dtype == torch.float32


def test_both_phases_train_in_bfloat16_with_weights_in_float32() -> None:
    config = CascadeConfig(
        **{name: getattr(SMALL, name) for name in ("width", "series_width", "noise", "batch")},
        precision="bfloat16",
    )
    _, batches = fresh(config)
    torch.manual_seed(0)
    for names, alone in (*(((name,), True) for name in PAIRS), (PAIRS, False)):
        phase = Phase(batches, names, alone=alone, config=config)
        before = [p.detach().clone() for p in phase.weights]
        phase.step_critics()
        phase.step_generators()
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in phase.weights)
        assert any(not torch.equal(a, b) for a, b in zip(before, phase.weights, strict=True))


def test_compiled_generators_keep_their_names_and_make_the_same() -> None:
    """The backend "eager" traces as CUDA's does, and needs no compiler."""
    _, batches = fresh()
    cascade, data = batches.cascade, batches.data
    rows = torch.nonzero(data.spans > 1)[:32, 0]

    def made() -> list[torch.Tensor]:
        torch.manual_seed(4)
        return [batches.made(name, rows, alone=False) for name in PAIRS]

    names, before = list(cascade.state_dict()), made()
    compile_generators(cascade, backend="eager")
    assert list(cascade.state_dict()) == names
    for one, other in zip(before, made(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_random_numbers_go_on_after_a_look() -> None:
    torch.manual_seed(1)
    plain = torch.rand(3)
    torch.manual_seed(1)
    with forked_random(CPU):
        torch.manual_seed(99)
        torch.rand(50)
    assert torch.equal(torch.rand(3), plain)
