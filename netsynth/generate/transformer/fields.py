"""Token columns: what embeds them, and what predicts them one after the other.

References:
    Uria et al., "Neural Autoregressive Distribution Estimation", JMLR 17, 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from netsynth.generate.transformer.choosing import at_quantile, draw, likely
from netsynth.generate.transformer.counts import CountPrior
from netsynth.generate.transformer.couplings import normal_scores
from netsynth.generate.transformer.neighbours import NEAR, NEAR_OUT, blur_rows
from netsynth.tables import TokenField


class FieldEmbedding(nn.Module):
    """Sum of one embedding a token column; where a field has vectors, it starts from those.

    Near numbers have nearly the same embeddings; `values`, one float64 [size] a field, tell what
    is near where the fields do not, see `blur_rows`.
    """

    def __init__(
        self,
        fields: tuple[TokenField, ...],
        *,
        width: int,
        values: list[Tensor] | None = None,
    ) -> None:
        super().__init__()
        sizes = [f.size for f in fields]
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + size)
        self.table = nn.Embedding(starts[-1], width)
        std = 0.3 / math.sqrt(max(len(fields), 1))
        nn.init.normal_(self.table.weight, std=std)
        with torch.no_grad():
            for start, item in zip(starts[:-1], fields, strict=True):
                if item.vectors is not None and item.vectors.any():
                    rows = _project(torch.as_tensor(item.vectors), width)
                    self.table.weight[start : start + item.size] = rows * std
        blur_rows(self.table, values or [number_values(f) for f in fields], reach=NEAR)
        self.register_buffer("starts", torch.tensor(starts[:-1]), persistent=False)
        self.starts: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [..., K] to [..., H]."""
        vectors: Tensor = self.table(tokens + self.starts)
        return vectors.sum(dim=-2)


def _project(vectors: Tensor, width: int) -> Tensor:
    """Map vectors [size, V] to [size, H] by a fixed random projection; mean square 1."""
    random = torch.Generator().manual_seed(vectors.shape[1])
    projected = vectors.float() @ torch.randn(vectors.shape[1], width, generator=random)
    return projected / projected.square().mean().sqrt()


class FieldDecoder(nn.Module):
    """Token columns one after the other, each seeing the state and the columns before it.

    Columns whose fields share the name of a group may only take tokens of the same class. What
    counts tell of a column given its `parents` (names of given or earlier columns, from coarse to
    fine) is where the network starts from; `categories` name columns that are drawn among what
    occurred under their closest parents alone, `sharp` those drawn from their `likely` tokens.
    """

    def __init__(
        self,
        fields: tuple[TokenField, ...],
        *,
        width: int,
        hidden: int,
        dropout: float,
        given: tuple[TokenField, ...] = (),
        parents: Mapping[str, tuple[tuple[str, ...], ...]] | None = None,
        categories: tuple[str, ...] = (),
        sharp: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.sharp = sharp
        self.fields = fields
        self.given = given
        self.categories = categories
        self._add_priors(parents or {})
        self.embed = nn.ModuleList(nn.Embedding(f.size, width) for f in fields)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.ModuleList(nn.Linear(width, hidden) for _ in fields)
        self.heads = nn.ModuleList(nn.Linear(hidden, f.size) for f in fields)
        self.dropout = nn.Dropout(dropout)
        for embedding in self.embed:
            nn.init.normal_(embedding.weight, std=0.2)  # type: ignore[arg-type]
        for head in self.heads:
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]
        for embedding, head, item in zip(self.embed, self.heads, fields, strict=True):
            blur_rows(embedding, [number_values(item)], reach=NEAR)
            blur_rows(head, [number_values(item, atoms=False)], reach=NEAR_OUT)
        self.masks: list[list[tuple[int, str]]] = []
        self._add_masks()

    def _add_masks(self) -> None:
        """Register bool [size_k, size_j] for each pair of columns that must agree."""
        seen = [*self.given, *self.fields]
        for place, item in enumerate(self.fields):
            pairs = []
            for earlier, other in enumerate(seen[: len(self.given) + place]):
                for group in item.groups.keys() & other.groups.keys():
                    ours = torch.as_tensor(item.groups[group])
                    theirs = torch.as_tensor(other.groups[group])
                    allowed = theirs[:, None] == ours[None, :]
                    allowed |= (ours < 0)[None, :] | (theirs < 0)[:, None]
                    name = f"mask_{place}_{earlier}_{group}"
                    self.register_buffer(name, allowed, persistent=False)
                    pairs.append((earlier, name))
            self.masks.append(pairs)

    def _add_priors(self, parents: Mapping[str, tuple[tuple[str, ...], ...]]) -> None:
        """Make a prior a column.

        Parents are columns, or groups of one as "column.group"; a level whose first parent begins
        with "~" is blurred.
        """
        seen = [*self.given, *self.fields]
        place = {f.name: i for i, f in enumerate(seen)}
        self.parents: list[list[list[tuple[int, str | None]]]] = []
        priors = []
        for item in self.fields:
            chain, sizes = [], []
            blurred = tuple(names[0].startswith("~") for names in parents.get(item.name, ()))
            for names in parents.get(item.name, ()):
                level, size = [], []
                for name in names:
                    column, _, group = name.removeprefix("~").partition(".")
                    buffer = None
                    width = seen[place[column]].size
                    if group:
                        classes = torch.as_tensor(seen[place[column]].groups[group])
                        buffer = f"group_{place[column]}_{group}"
                        self.register_buffer(buffer, classes, persistent=False)
                        width = int(classes.max()) + 1
                    level.append((place[column], buffer))
                    size.append(width)
                chain.append(level)
                sizes.append(tuple(size))
            self.parents.append(chain)
            values = log_values(item) if any(blurred) else None
            priors.append(CountPrior(item.size, tuple(sizes), values=values, blurred=blurred))
        self.priors = nn.ModuleList(priors)

    def _parents(self, place: int, tokens: Tensor) -> list[Tensor]:
        """Parent tokens of column `place`, one [M, P] a level."""
        levels = []
        for level in self.parents[place]:
            columns = []
            for column, buffer in level:
                values = tokens[:, column]
                columns.append(values if buffer is None else getattr(self, buffer)[values])
            levels.append(torch.stack(columns, dim=1))
        return levels

    def set_counts(self, tokens: Tensor, given: Tensor, *, choose: bool) -> None:
        """Count tokens [M, K] given columns [M, G]; see `CountPrior.set_counts`."""
        seen = torch.cat([given, tokens], dim=1)
        for place, prior in enumerate(self.priors):
            assert isinstance(prior, CountPrior)
            prior.set_counts(tokens[:, place], self._parents(place, seen), choose=choose)

    def _prior(self, place: int, tokens: Tensor, left_out: Tensor | None) -> Tensor:
        logs: Tensor = self.priors[place](self._parents(place, tokens), left_out=left_out)
        return logs

    def logits(
        self, place: int, state: Tensor, tokens: Tensor, *, left_out: Tensor | None = None
    ) -> Tensor:
        """Logits [M, size] of column `place` from state [M, H] and given and earlier tokens.

        `left_out` [M] are the column's own tokens where they are among the counts.
        """
        inner = functional.gelu(self.hidden[place](self.norm(state)))
        logits: Tensor = self.heads[place](self.dropout(inner))
        logits = logits + self._prior(place, tokens, left_out)
        for earlier, name in self.masks[place]:
            mask: Tensor = getattr(self, name)
            logits = logits.masked_fill(~mask[tokens[:, earlier]], -1e9)
        return logits

    def loss(self, state: Tensor, tokens: Tensor, given: Tensor) -> Tensor:
        """Negative log-likelihood in nats of tokens [M, K]: [M, K]."""
        seen = torch.cat([given, tokens], dim=1)
        losses = []
        for place in range(len(self.fields)):
            target = tokens[:, place]
            own = target if self.training else None
            logits = self.logits(place, state, seen, left_out=own)
            losses.append(functional.cross_entropy(logits.float(), target, reduction="none"))
            state = state + self.dropout(self.embed[place](target))
        return torch.stack(losses, dim=1)

    def scores(
        self, state: Tensor, tokens: Tensor, given: Tensor, names: tuple[str, ...]
    ) -> list[tuple[Tensor, Tensor]]:
        """Tell where tokens [M, K] lie in their distributions, for each of the columns `names`.

        The distributions are those of counts without the row itself; see `normal_scores`.
        """
        seen = torch.cat([given, tokens], dim=1)
        found = {}
        for place, item in enumerate(self.fields):
            target = tokens[:, place]
            if item.name in names:
                logits = self.logits(place, state, seen, left_out=target)
                order = token_order(item).to(target.device)
                found[item.name] = normal_scores(logits[:, order], torch.argsort(order)[target])
            state = state + self.embed[place](target)
        return [found[name] for name in names]

    def sample(
        self,
        state: Tensor,
        given: Tensor,
        *,
        random: torch.Generator,
        quantiles: Mapping[str, Tensor] | None = None,
        allowed: dict[str, Tensor] | None = None,
        room: Callable[[str, Tensor], Tensor | None] = lambda *_: None,
    ) -> Tensor:
        """Draw tokens [M, K].

        Args:
            state: [M, H].
            given: int64 [M, G], columns that are known.
            random: Source of randomness.
            quantiles: Of each row, float64 [M] by a column's name; drawn where there are none.
            allowed: Tokens that a column may take, bool [size] by its name.
            room: Told a column's name and the tokens so far, returns those it may take in each
                row, bool [M, size], or None.
        """
        seen = given
        for place, item in enumerate(self.fields):
            if item.size == 1:
                seen = torch.cat([seen, torch.zeros_like(state[:, :1], dtype=torch.int64)], dim=1)
                continue
            logits = self.logits(place, state, seen)
            if item.name in self.categories:
                prior = self.priors[place]
                assert isinstance(prior, CountPrior)
                logits = logits.masked_fill(~prior.seen(self._parents(place, seen)), -1e8)
            if allowed and item.name in allowed:
                logits = logits.masked_fill(~allowed[item.name], -1e9)
            possible = room(item.name, seen)
            if possible is not None:
                logits = logits.masked_fill(~possible, -1e8)
            if item.name in self.sharp:
                logits = likely(logits)
            if quantiles and item.name in quantiles:
                order = token_order(item).to(logits.device)
                token = order[at_quantile(logits[:, order], quantiles[item.name])]
            else:
                token = draw(logits, random)
            seen = torch.cat([seen, token[:, None]], dim=1)
            state = state + self.embed[place](token)
        return seen[:, given.shape[1] :]


def token_order(item: TokenField) -> Tensor:
    """Tokens by the numbers that they stand for, those that are no numbers first: int64 [size]."""
    if item.number is None:
        return torch.arange(item.size)
    return torch.argsort(log_values(item).nan_to_num(-1.0), stable=True)


def number_values(item: TokenField, *, atoms: bool = True) -> Tensor:
    """Like `log_values`, for a column of no numbers, too: float64 [size].

    Without `atoms` those are NaN as well.
    """
    if item.number is None:
        return torch.full((item.size,), torch.nan, dtype=torch.float64)
    values = log_values(item)
    if not atoms:
        first = item.size - item.number.size
        values[first : first + item.number.atoms.size] = torch.nan
    return values


def values_or_none(item: TokenField) -> Tensor:
    """Values of a column's tokens to which 1 was added, 0: none; float64 [size + 1]."""
    return torch.cat([torch.full((1,), torch.nan, dtype=torch.float64), number_values(item)])


def log_values(item: TokenField) -> Tensor:
    """Logs of the middle values of a column's tokens, NaN for those that are no numbers: [size]."""
    assert item.number is not None
    middle = torch.as_tensor((item.number.low + item.number.high) / 2)
    none = torch.full((item.size - item.number.size,), torch.nan, dtype=torch.float64)
    return torch.cat([none, torch.log(middle.clamp(min=0) + 1)])
