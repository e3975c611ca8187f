"""The published TST as a model: its scales, its network, and the real records it starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from netsynth.dataset import SeriesDataset, SeriesSchema
from netsynth.generate.doppelganger.config import DoppelgangerConfig
from netsynth.generate.doppelganger.encoding import FLAGS, SeriesEncoding
from netsynth.generate.tst.config import PublishedConfig
from netsynth.generate.tst.published import (
    SEED_STEPS,
    PublishedNetwork,
    draw_published,
    fit_published,
)
from netsynth.numbers import Array

PART = 512  # series drawn together


class PublishedModel:
    """What was learned, and the first records of the samples learned from, which begin series.

    Metadata is not an input of the network; those of the sample whose records begin a series
    stand beside it.
    """

    def __init__(self, schema: SeriesSchema, config: PublishedConfig, *, seed: int) -> None:
        self.schema, self.config = schema, config
        scaling = DoppelgangerConfig(auto_normalise=False, output=config.output)
        self.encoding = SeriesEncoding(schema, scaling)
        inputs = sum(width for _, width in self.encoding.record_widths)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = PublishedNetwork(inputs=inputs, config=config)
        self.network.eval()
        self.seeds = np.zeros((0, SEED_STEPS, inputs), dtype=np.float32)
        self.seed_lengths = np.zeros(0, dtype=np.int64)
        self.seed_metadata = np.zeros((0, 0), dtype=np.float32)

    def to(self, device: torch.device) -> None:
        """Move the weights to `device`."""
        self.network.to(device)

    def fit(
        self,
        dataset: SeriesDataset,
        *,
        seed: int,
        report: Callable[[float, str], None],
        stop: Callable[[], bool],
        minutes: float | None,
    ) -> dict[str, float]:
        """Train, and keep the first records; see `fit_published`."""
        encoded = self.encoding.encode(dataset)
        rows = np.arange(len(dataset))
        longest = max(int(dataset.lengths.max()), SEED_STEPS)
        parts = [
            encoded.batch(rows[at : at + PART], longest)[:, :SEED_STEPS]
            for at in range(0, rows.size, PART)
        ]
        self.seeds = np.concatenate(parts)
        self.seed_lengths = np.minimum(dataset.lengths, SEED_STEPS)
        self.seed_metadata = encoded.metadata
        return fit_published(
            self.network,
            encoded,
            config=self.config,
            seed=seed,
            device=self.network.leave.weight.device,
            report=report,
            stop=stop,
            minutes=minutes,
        )

    def sample(self, count: int, *, seed: int) -> Iterator[SeriesDataset]:
        """Draw `count` samples in parts, each begun with a learned sample's first records."""
        random, device = np.random.default_rng(seed), self.network.leave.weight.device
        window = min(self.config.window, self.schema.max_length)
        for at in range(0, count, PART):
            rows = random.integers(len(self.seeds), size=min(PART, count - at))
            made, lengths = draw_published(
                self.network,
                torch.as_tensor(self.seeds[rows]).to(device),
                torch.as_tensor(self.seed_lengths[rows]).to(device),
                window=max(window, SEED_STEPS),
            )
            ranges = np.zeros((rows.size, 0), dtype=np.float32)
            yield self.encoding.decode(
                self.seed_metadata[rows],
                ranges,
                made.cpu().numpy(),
                np.minimum(lengths.cpu().numpy(), self.schema.max_length),
            )

    def to_arrays(self) -> dict[str, Array]:
        """Return weights and first records as named arrays."""
        weights = {
            f"network.{k}": v.detach().cpu().numpy() for k, v in self.network.state_dict().items()
        }
        return {
            **weights,
            "seeds": self.seeds,
            "seed_lengths": self.seed_lengths,
            "seed_metadata": self.seed_metadata,
        }

    def take_arrays(self, arrays: dict[str, Array]) -> None:
        """Inverse of `to_arrays`."""
        weights = {k[8:]: torch.as_tensor(v) for k, v in arrays.items() if k.startswith("network.")}
        self.network.load_state_dict(weights)
        self.seeds, self.seed_lengths = arrays["seeds"], arrays["seed_lengths"]
        self.seed_metadata = arrays["seed_metadata"]
        assert self.seeds.shape[2] >= FLAGS
