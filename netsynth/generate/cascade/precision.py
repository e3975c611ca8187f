"""How a phase runs on its device: bfloat16 and compiled generators on CUDA, float32 on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from netsynth.errors import ConfigError
from netsynth.generate.cascade.pairs import Cascade


def autocast_dtype(
    device: torch.device,
    precision: str,
    *,
    has_bfloat16: Callable[[], bool] = torch.cuda.is_bf16_supported,
) -> torch.dtype | None:
    """Choose the type of matrix products; None is float32, as the weights are.

    Losses, the gradient penalty's norm and Adam stay float32 in either case. bfloat16 has float32's
    range, so no loss has to be scaled.

    Args:
        device: Where the nets are.
        precision: "float32", "bfloat16", or "auto": bfloat16 on a CUDA device that has it.
        has_bfloat16: Asked of CUDA devices alone.

    Raises:
        ConfigError: If bfloat16 is asked of a CUDA device that lacks it.
    """
    if precision == "float32":
        return None
    if device.type != "cuda":
        return torch.bfloat16 if precision == "bfloat16" else None
    if has_bfloat16():
        return torch.bfloat16
    if precision == "bfloat16":
        raise ConfigError(f"{device} lacks bfloat16; set cascade.precision to float32")
    return None


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Context in which matrix products run in `autocast_dtype`."""
    dtype = autocast_dtype(device, precision)
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def forked_random(device: torch.device) -> AbstractContextManager[None]:
    """Context after which torch's own random numbers go on as if nothing had been drawn."""
    devices = [device.index or 0] if device.type == "cuda" else []
    return torch.random.fork_rng(devices=devices)


def compile_generators(cascade: Cascade, *, backend: str = "inductor") -> None:
    """Compile what runs once a step: G1 and the bodies of G2 and G3; names of weights stay.

    Critics are left alone: their own steps do not call them (`critic_step`). So is the recurrent
    net, which cuDNN runs in one kernel.
    """
    cascade.g1.compile(backend=backend, dynamic=True)
    cascade.g3.body.compile(backend=backend, dynamic=True)
    cascade.g3.finish.compile(backend=backend, dynamic=True)
    if cascade.g2.backbone == "mlp":
        cascade.g2.body.compile(backend=backend, dynamic=True)
    else:
        cascade.g2.out.compile(backend=backend, dynamic=True)
