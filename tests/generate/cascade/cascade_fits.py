"""A small cascade on the office capture, untrained."""

import torch
from generate_traces import layout, office

from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.fitting import Fitting
from netsynth.generate.cascade.generator import CascadeGenerator
from netsynth.generate.cascade.learned import Learned
from netsynth.generate.cascade.pairs import Batches

SMALL = CascadeConfig(
    width=48, critic_layers=3, generator_layers=2, series_width=24, noise=12,
    condition_width=32, batch=128, max_epochs=2, least_steps=1, patience=50, learning_rate=1e-3,
)  # fmt: skip


def fresh(config: CascadeConfig = SMALL, seed: int = 0) -> tuple[Learned, Batches]:
    """An untrained cascade and its data."""
    generator = CascadeGenerator(layout=layout(), config=config, seed=seed)
    generator.fit([office()[1]], seed=0, stop=lambda: True)
    assert generator.learned is not None
    device = torch.device("cpu")
    fit = Fitting(generator.learned, [office()[1]], config, seed=0, device=device)
    return generator.learned, fit.batches
