"""TST as a generator of series: fits, samples, and goes into a file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from netsynth.dataset import SeriesDataset, SeriesSchema
from netsynth.errors import ConfigError, ModelError
from netsynth.generate.transformer.fields import FieldDecoder
from netsynth.generate.transformer.training import FitControl, FitOutcome
from netsynth.generate.tst.config import PublishedConfig, TstConfig
from netsynth.generate.tst.drawing import draw_prefix, draw_values, known_prefix, meet_totals
from netsynth.generate.tst.fit import choose_parents, fit_prefix, fit_values
from netsynth.generate.tst.likelihood import SeriesTransformer
from netsynth.generate.tst.published_generator import PublishedModel
from netsynth.generate.tst.tokens import SeriesTokens, fit_series_tokens
from netsynth.numbers import Array, FloatArray, IntArray

log = logging.getLogger(__name__)

PART = 2048  # series drawn together
SHARE_OF_TIME = 0.2  # of the minutes, for the metadata


class TstGenerator:
    """The likelihood model, or the published one; which is settled by the config."""

    def __init__(self, *, schema: SeriesSchema, config: TstConfig, seed: int = 0) -> None:
        self.schema, self.config, self.seed = schema, config, seed
        self.device = torch.device("cpu")
        self.tokens: SeriesTokens | None = None
        self.parents: dict[str, tuple[tuple[str, ...], ...]] = {}
        self.networks = nn.ModuleDict()
        self.published: PublishedModel | None = None
        if config.mode == "published":
            self.published = PublishedModel(schema, config.published, seed=seed)
        self.outcomes: dict[str, Any] = {}

    def to(self, device: torch.device | str) -> TstGenerator:
        """Move the weights to `device`."""
        self.device = torch.device(device)
        self.networks.to(self.device)
        if self.published is not None:
            self.published.to(self.device)
        return self

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
        """Train what is not yet trained; see `SeriesGenerator.fit`.

        Raises:
            ConfigError: If there are fewer than two samples.
        """
        if len(dataset) < 2:
            raise ConfigError(f"tst needs 2 samples at least, not {len(dataset)}")
        if self.published is not None:
            if "series" not in self.outcomes:
                outcome = self.published.fit(
                    dataset, seed=seed, report=partial(report, "series"), stop=stop, minutes=minutes
                )
                self.outcomes |= {} if stop() else {"series": outcome}
                checkpoint()
            return self.outcomes
        if self.tokens is None:
            self.tokens = fit_series_tokens(dataset, self.config)
            prefix = self.tokens.encode_prefix(dataset)
            self.parents = choose_parents(self.tokens.prefix_fields, prefix)
            self._build()
        prefix = self.tokens.encode_prefix(dataset)
        began = time.monotonic()
        for name, share in (("metadata", SHARE_OF_TIME), ("series", 1.0)):
            if name in self.outcomes:
                continue
            deadline = None
            if minutes is not None:
                left = max(60 * minutes - (time.monotonic() - began), 0)
                deadline = time.monotonic() + share * left
            control = FitControl(report=partial(report, name), stop=stop, deadline=deadline)
            level = self._fit_level(name, dataset, prefix, seed=seed, control=control)
            if stop():
                break
            self.outcomes[name] = asdict(level)
            log.info("%s", level)
            checkpoint()
        return self.outcomes

    def _fit_level(
        self, name: str, dataset: SeriesDataset, prefix: IntArray, *, seed: int, control: FitControl
    ) -> FitOutcome:
        assert self.tokens is not None
        decoder, values = self._levels()
        shared: dict[str, Any] = {
            "config": self.config, "seed": seed, "device": self.device, "control": control,
        }  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if name == "metadata":
                start = torch.zeros(1, self.config.width, device=self.device)
                return fit_prefix(decoder, start, prefix, **shared)
            return fit_values(values, self.tokens, dataset, **shared)

    def _build(self) -> None:
        """Make the networks that the tokens ask for."""
        assert self.tokens is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.networks["prefix"] = FieldDecoder(
                self.tokens.prefix_fields,
                width=self.config.width,
                hidden=self.config.hidden,
                dropout=self.config.dropout,
                parents=self.parents,
            )
            self.networks["series"] = SeriesTransformer(self.tokens, self.config)
        self.networks.eval().to(self.device)

    def _levels(self) -> tuple[FieldDecoder, SeriesTransformer]:
        decoder, values = self.networks["prefix"], self.networks["series"]
        assert isinstance(decoder, FieldDecoder)
        assert isinstance(values, SeriesTransformer)
        return decoder, values

    @torch.no_grad()
    def sample(
        self,
        count: int,
        *,
        seed: int,
        metadata: FloatArray | None = None,
        lengths: IntArray | None = None,
    ) -> Iterator[SeriesDataset]:
        """Draw `count` samples in parts; see `SeriesGenerator.sample`.

        Raises:
            ConfigError: If the published model is asked for metadata or lengths.
        """
        if self.published is not None:
            if metadata is not None or lengths is not None:
                raise ConfigError(
                    "tst as published knows no metadata and no lengths; fit with mode=likelihood"
                )
            yield from self.published.sample(count, seed=seed)
            return
        if self.tokens is None:
            raise ModelError("the model was never fitted")
        random = torch.Generator(device=self.device).manual_seed(seed)
        uniform = np.random.default_rng(seed)
        for at in range(0, count, PART):
            rows = slice(at, min(at + PART, count))
            given = None if metadata is None else metadata[rows]
            wanted = None if lengths is None else lengths[rows]
            yield self._draw(rows.stop - at, given, wanted, random=random, uniform=uniform)

    @torch.no_grad()
    def sample_metadata(self, count: int, *, seed: int) -> FloatArray:
        """Draw metadata alone; see `SeriesGenerator.sample_metadata`."""
        if self.published is not None:
            raise ConfigError("tst as published knows no metadata; fit with mode=likelihood")
        if self.tokens is None:
            raise ModelError("the model was never fitted")
        random = torch.Generator(device=self.device).manual_seed(seed)
        prefix = self._draw_prefix(count, None, None, random)
        uniform = np.random.default_rng(seed).random((count, len(self.schema.metadata)))
        return self.tokens.decode_metadata(prefix, uniform)

    def _draw(
        self,
        count: int,
        metadata: FloatArray | None,
        lengths: IntArray | None,
        *,
        random: torch.Generator,
        uniform: np.random.Generator,
    ) -> SeriesDataset:
        tokens = self.tokens
        assert tokens is not None
        _, values = self._levels()
        prefix = self._draw_prefix(count, metadata, lengths, random)
        cells = tokens.decode_metadata(prefix, uniform.random((count, len(self.schema.metadata))))
        if metadata is not None:
            cells = np.where(np.isnan(metadata), cells, metadata)
        within = np.stack(tokens.lengths_within(prefix), axis=1)
        if lengths is not None:
            within = np.stack([lengths, lengths], axis=1)
        place = uniform.random((count, len(tokens.totalled)))
        totals = tokens.draw_totals(prefix, cells, within.mean(axis=1), place)
        made, drawn = draw_values(
            values, tokens, prefix, cells, within, totals, random=random, uniform=uniform
        )
        dataset = SeriesDataset(
            schema=self.schema,
            metadata=cells,
            values=made,
            offsets=np.concatenate(([0], np.cumsum(drawn))),
        )
        if not self.config.match_totals:
            return dataset
        return meet_totals(dataset, tokens, tokens.draw_totals(prefix, cells, drawn, place))

    def _draw_prefix(
        self,
        count: int,
        metadata: FloatArray | None,
        lengths: IntArray | None,
        random: torch.Generator,
    ) -> IntArray:
        """Draw prefixes [count, P]; known metadata and lengths are clamped, not rejected."""
        tokens, (decoder, _) = self.tokens, self._levels()
        assert tokens is not None
        known = known_prefix(tokens, count, metadata, lengths)
        made = draw_prefix(decoder, torch.as_tensor(known).to(self.device), random=random)
        return made.cpu().numpy()

    def retrain_metadata(
        self,
        metadata: FloatArray,
        *,
        seed: int,
        report: Callable[[str, float, str], None] = lambda *_: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Say that this generator needs none.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "tst takes wanted metadata as they are: netsynth sample --metadata CSV; only "
            "doppelganger is retrained"
        )

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what is learned as JSON-able facts and named arrays."""
        header: dict[str, Any] = {"config": asdict(self.config), "outcomes": self.outcomes}
        if self.published is not None:
            return header, self.published.to_arrays()
        if self.tokens is None:
            raise ModelError("the model was never fitted")
        header["tokens"], arrays = self.tokens.to_parts()
        header["parents"] = {name: list(map(list, levels)) for name, levels in self.parents.items()}
        weights = {k: v.detach().cpu().numpy() for k, v in self.networks.state_dict().items()}
        return header, {**{f"tokens.{k}": v for k, v in arrays.items()}, **weights}

    @classmethod
    def from_parts(
        cls, header: dict[str, Any], arrays: dict[str, Array], *, schema: SeriesSchema
    ) -> TstGenerator:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If weights are missing or of another shape.
        """
        try:
            settings = dict(header["config"])
            settings["published"] = PublishedConfig(**settings["published"])
            made = cls(schema=schema, config=TstConfig(**settings))
            made.outcomes = dict(header["outcomes"])
            if made.published is not None:
                made.published.take_arrays(arrays)
                return made
            of_tokens = {k[7:]: v for k, v in arrays.items() if k.startswith("tokens.")}
            made.tokens = SeriesTokens.from_parts(header["tokens"], of_tokens, schema=schema)
            made.parents = {
                name: tuple(tuple(level) for level in levels)
                for name, levels in header["parents"].items()
            }
            made._build()
            weights = {
                k: torch.as_tensor(v) for k, v in arrays.items() if not k.startswith("tokens.")
            }
            made.networks.load_state_dict(weights)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"the model's weights do not fit ({reason}); fit it again") from error
        return made
