"""DoppelGANger as a generator of series: fits, samples, and goes into a file."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from netsynth.dataset import SeriesDataset, SeriesSchema
from netsynth.errors import ConfigError, ModelError
from netsynth.generate.doppelganger.config import DoppelgangerConfig
from netsynth.generate.doppelganger.encoding import SeriesEncoding
from netsynth.generate.doppelganger.networks import Critic, SeriesGenerators
from netsynth.generate.doppelganger.training import Trainer, train, train_metadata
from netsynth.numbers import Array, FloatArray, IntArray

log = logging.getLogger(__name__)

PART = 2000  # samples drawn together
UNFINISHED = "unfinished."  # begins the names of arrays by which a fit goes on
TRIES = 200  # parts drawn to find metadata that fulfil a condition


class DoppelgangerGenerator:
    """Metadata, ranges and series, each by its own network.

    References:
        Lin et al., IMC 2020.
    """

    def __init__(self, *, schema: SeriesSchema, config: DoppelgangerConfig, seed: int = 0) -> None:
        self.schema, self.config = schema, config
        self.encoding = SeriesEncoding(schema, config)
        widths = (
            self.encoding.metadata_widths,
            self.encoding.range_widths,
            self.encoding.record_widths,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = torch.nn.ModuleDict(
                {
                    "generators": SeriesGenerators(
                        metadata=widths[0],
                        ranges=widths[1],
                        records=widths[2],
                        max_length=schema.max_length,
                        config=config,
                    )
                }
            )
            a, r, w = self.generators.sizes
            length = self.generators.step_count * self.generators.patch
            hidden = config.critic_hidden
            self.networks["critic"] = Critic(inputs=length * w + a + r, hidden=hidden)
            self.networks["auxiliary"] = Critic(inputs=max(a + r, 1), hidden=hidden)
        self.networks.eval()
        self.outcomes: dict[str, Any] = {}
        self._trainer: Trainer | None = None  # of a fit that is not over
        self._unfinished: dict[str, Array] = {}  # what a trainer left off with; see Trainer

    @property
    def generators(self) -> SeriesGenerators:
        """The networks that make samples."""
        found = self.networks["generators"]
        assert isinstance(found, SeriesGenerators)
        return found

    def _drawing(self) -> SeriesGenerators:
        """Return the networks to draw from: of a fit that is not over, their average so far."""
        found = self.generators.eval()
        if not (self._unfinished and self.config.average):
            return found
        names = found.state_dict().keys()
        kept = (torch.as_tensor(self._unfinished[f"average.{i}"]) for i in range(len(names)))
        averaged = copy.deepcopy(found)
        averaged.load_state_dict(dict(zip(names, kept, strict=True)))
        return averaged

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.generators.record.weight.device

    def to(self, device: torch.device | str) -> DoppelgangerGenerator:
        """Move the weights to `device`."""
        self.networks.to(device)
        return self

    def trainer(self, *, seed: int) -> Trainer:
        """Make optimisers for the networks; `seed` is of the noise."""
        critic, auxiliary = self.networks["critic"], self.networks["auxiliary"]
        assert isinstance(critic, Critic)
        assert isinstance(auxiliary, Critic)
        random = torch.Generator(device=self.device).manual_seed(seed)
        return Trainer(self.generators, critic, auxiliary, config=self.config, random=random)

    def fit(
        self,
        dataset: SeriesDataset,
        *,
        seed: int,
        report: Callable[[str, float, str], None] = lambda *_: None,
        stop: Callable[[], bool] = lambda: False,
        minutes: float | None = None,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Train the networks, or go on with what was restored; see `SeriesGenerator.fit`.

        Raises:
            ConfigError: If there are fewer than two samples.
        """
        if len(dataset) < 2:
            raise ConfigError(f"doppelganger needs 2 samples at least, not {len(dataset)}")
        if "series" in self.outcomes:
            return self.outcomes
        trainer = self._trainer = self.trainer(seed=seed)
        if self._unfinished:
            trainer.take_arrays(self._unfinished)
        outcome = train(
            trainer,
            self.encoding.encode(dataset),
            seed=seed,
            device=self.device,
            report=lambda share, text: report("series", share, text),
            stop=stop,
            minutes=minutes,
            checkpoint=checkpoint,
        )
        if stop():
            checkpoint()
            self._trainer, self._unfinished = None, trainer.to_arrays()
            return self.outcomes
        if self.config.average:
            trainer.take_average()
        self._trainer, self._unfinished = None, {}
        self.outcomes["series"] = outcome
        log.info("doppelganger: %s", outcome)
        checkpoint()
        return self.outcomes

    @torch.no_grad()
    def sample(
        self,
        count: int,
        *,
        seed: int,
        metadata: FloatArray | None = None,
        lengths: IntArray | None = None,
    ) -> Iterator[SeriesDataset]:
        """Draw `count` samples in parts; see `SeriesGenerator.sample`."""
        random = torch.Generator(device=self.device).manual_seed(seed)
        rows, networks = np.random.default_rng(seed), self._drawing()
        for at in range(0, count, PART):
            size = min(PART, count - at)
            given = None
            if metadata is not None:
                cells = self._complete(networks, metadata[at : at + size], random, rows)
                given = torch.as_tensor(self.encoding.encode_metadata(cells)).to(self.device)
            wanted = None if lengths is None else lengths[at : at + size]
            yield self._draw(networks, size, random, given=given, lengths=wanted)

    @torch.no_grad()
    def sample_metadata(self, count: int, *, seed: int) -> FloatArray:
        """Draw metadata alone; see `SeriesGenerator.sample_metadata`."""
        network = self._drawing().metadata
        if network is None:
            return np.zeros((count, 0))
        random = torch.Generator(device=self.device).manual_seed(seed)
        noise = torch.randn(count, self.generators.noise, generator=random, device=self.device)
        return self.encoding.decode_metadata(network(noise).cpu().numpy())

    def _draw(
        self,
        networks: SeriesGenerators,
        count: int,
        random: torch.Generator,
        *,
        given: torch.Tensor | None,
        lengths: IntArray | None,
    ) -> SeriesDataset:
        made = networks(count, random, given=given, free=True)
        limit = self.schema.max_length
        if lengths is None:
            ends = ~made.goes_on[:, :limit]
            first = ends.int().argmax(dim=1) + 1
            whole = torch.full_like(first, limit)
            lengths = torch.where(ends.any(dim=1), first, whole).cpu().numpy()
        return self.encoding.decode(
            made.fixed.cpu().numpy(),
            made.ranges.cpu().numpy(),
            made.series[:, :limit].cpu().numpy(),
            np.asarray(lengths, dtype=np.int64),
        )

    def _complete(
        self,
        networks: SeriesGenerators,
        metadata: FloatArray,
        random: torch.Generator,
        rows: np.random.Generator,
    ) -> FloatArray:
        """Fill NaN cells from drawn metadata whose categories agree with the given ones."""
        missing, network = np.isnan(metadata), networks.metadata
        if not missing.any() or network is None:
            return metadata
        cells = metadata.copy()
        open_rows = np.flatnonzero(missing.any(axis=1))
        for _ in range(TRIES):
            noise = torch.randn(PART, networks.noise, generator=random, device=self.device)
            drawn = self.encoding.decode_metadata(network(noise).cpu().numpy())
            patterns, group = np.unique(metadata[open_rows], axis=0, return_inverse=True)
            group, filled = group.reshape(-1), np.zeros(open_rows.size, dtype=np.bool_)
            for index, pattern in enumerate(patterns):
                fits = np.flatnonzero(((drawn == pattern) | np.isnan(pattern)).all(axis=1))
                if fits.size:
                    mine = group == index
                    cells[open_rows[mine]] = drawn[rows.choice(fits, int(mine.sum()))]
                    filled |= mine
            open_rows = open_rows[~filled]
            if open_rows.size == 0:
                return cells
        raise ModelError(
            f"the model drew no metadata like row {int(open_rows[0])} of those wanted in "
            f"{TRIES * PART:,} tries; give all columns"
        )

    def retrain_metadata(
        self,
        metadata: FloatArray,
        *,
        seed: int,
        report: Callable[[str, float, str], None] = lambda *_: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Learn another distribution of metadata; ranges and series stay as they are."""
        network = self.generators.metadata
        if network is None:
            raise ConfigError("these series have no metadata to learn anew")
        wanted = torch.as_tensor(self.encoding.encode_metadata(metadata)).to(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            train_metadata(
                network,
                wanted,
                config=self.config,
                seed=seed,
                report=lambda share, text: report("metadata", share, text),
                stop=stop,
            )

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what is learned as JSON-able facts and named arrays.

        While the fit is not over, what it needs to go on is among them.
        """
        arrays = {k: v.detach().cpu().numpy() for k, v in self.networks.state_dict().items()}
        left = self._unfinished if self._trainer is None else self._trainer.to_arrays()
        arrays |= {f"{UNFINISHED}{k}": v for k, v in left.items()}
        return {"config": asdict(self.config), "outcomes": self.outcomes}, arrays

    @classmethod
    def from_parts(
        cls, header: dict[str, Any], arrays: dict[str, Array], *, schema: SeriesSchema
    ) -> DoppelgangerGenerator:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If weights are missing or of another shape.
        """
        try:
            made = cls(schema=schema, config=DoppelgangerConfig(**header["config"]))
            left = {k: v for k, v in arrays.items() if k.startswith(UNFINISHED)}
            made.networks.load_state_dict(
                {k: torch.as_tensor(v) for k, v in arrays.items() if k not in left}
            )
            made._unfinished = {k.removeprefix(UNFINISHED): v for k, v in left.items()}
            made.outcomes = dict(header["outcomes"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"the model's weights do not fit ({reason}); fit it again") from error
        return made
