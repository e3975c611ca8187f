"""What counting alone tells of a column, given columns before it: a prior for the network.

A service with four flows teaches a network nothing before it stops, yet its flows may carry most
of the bytes. Counts know it at once. They are smoothed from fine to coarse, by as much as blocks of
flows left out in turn ask for, and the network learns what they miss.

References:
    Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", 1999
    (interpolation, deleted estimation).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
ENOUGH = 10  # flows under the same parents, after which what never occurred is ruled out
LARGEST_TABLE = 4_000_000  # counts of a level, at most; rarer keys fall back to the level before
FOLDS = 4  # parts of the flows, each judged by counts of the others
BLOCK = 32  # flows that follow one another and belong to the same part
JUDGED = 5000  # flows of a part that judge, about
LEAST_SHARE = 1e-12  # of any token: what no block left out showed may come all the same


HASH = 0x5851F42D4C957F2D  # odd, of Knuth's MMIX generator
NEAR = 0.35  # natural logs over which blurred counts reach
FAR = 4.0  # times that, beyond which they do not


def blur_matrix(values: Tensor, counts: Tensor) -> Tensor:
    """Share of a flow that counts for each token, by its own token: float32 [size, size].

    Args:
        values: float64 [size], logs of numbers; tokens of NaN count for themselves alone.
        counts: float32 [size], how often each token occurs; frequent ones get more.
    """
    apart = (values[:, None] - values[None, :]).abs() / NEAR
    weight = torch.exp(-apart).masked_fill(apart > FAR, 0.0) * (counts.double() + 0.1)
    blur = torch.where(torch.isnan(apart), torch.eye(values.numel(), device=values.device), weight)
    return (blur / blur.sum(1, keepdim=True)).float()


class CountPrior(nn.Module):
    """Log-probabilities of a column's tokens from counts, given columns before it.

    Level 0 is the column alone; each further level adds a tuple of given columns. Where tokens
    are numbers, some levels are blurred: a flow counts for the tokens near its own, too, else ten
    large flows of ten different sizes would tell an eleventh nothing.
    """

    def __init__(
        self,
        size: int,
        chain: tuple[tuple[int, ...], ...],
        *,
        values: Tensor | None = None,
        blurred: tuple[bool, ...] = (),
    ) -> None:
        """Make an empty prior.

        Args:
            size: Tokens.
            chain: Sizes of each level's parents.
            values: float64 [size], logs of the numbers that tokens stand for, NaN for none.
            blurred: Levels to blur, False for the rest.
        """
        super().__init__()
        self.size = size
        self.sizes = chain
        self.values = values
        self.blurred = blurred + (False,) * (len(chain) - len(blurred))
        self._blur: Tensor | None = None
        self.register_buffer("base", torch.zeros(size))
        self.register_buffer("strength", torch.ones(len(chain)))
        self.base: Tensor
        self.strength: Tensor
        self._memory: tuple[Tensor, Tensor] | None = None
        for level in range(len(chain)):
            self.register_buffer(f"keys_{level}", torch.zeros(0, dtype=torch.int64))
            self.register_buffer(f"rows_{level}", torch.zeros(1, size))

    def set_counts(self, tokens: Tensor, parents: list[Tensor], *, choose: bool) -> None:
        """Count tokens [M], in order of time, under parents, one [M, P] a level.

        `choose` sets the smoothing, too.
        """
        self._memory = None
        self.base = torch.bincount(tokens, minlength=self.size).float()
        if self.values is not None and any(self.blurred):
            self._blur = blur_matrix(self.values.to(tokens.device), self.base)
        for level, given in enumerate(parents):
            code = self._code(level, given)
            keys, place, counts = torch.unique(code, return_inverse=True, return_counts=True)
            limit = max(LARGEST_TABLE // self.size, 1)
            if keys.numel() > limit:
                kept = counts.topk(limit).indices.sort().values
                new = torch.full_like(keys, -1)
                new[kept] = torch.arange(limit, device=keys.device)
                keys, place = keys[kept], new[place]
            rows = torch.zeros(keys.numel() + 1, self.size, device=tokens.device)  # last: unseen
            known = place >= 0
            ones = torch.ones_like(tokens[known], dtype=torch.float32)
            rows.index_put_((place[known], tokens[known]), ones, accumulate=True)
            if self.blurred[level]:
                rows = rows @ self._blur_of(tokens.device)
            setattr(self, f"keys_{level}", keys)
            setattr(self, f"rows_{level}", rows)
        if choose:
            self._choose_strength(tokens, parents)

    def _choose_strength(self, tokens: Tensor, parents: list[Tensor]) -> None:
        """Take the smoothing under which blocks of flows are likeliest that others are counted for.

        Flows that follow one another are alike, so that each alone would be told by its neighbours.
        """
        block = min(max(tokens.numel() // 40, 1), BLOCK)
        fold = torch.arange(tokens.numel(), device=tokens.device) // block % FOLDS
        parts = []
        for number in range(FOLDS):
            rest, own = fold != number, torch.nonzero(fold == number)[:, 0]
            own = own[:: max(own.numel() // JUDGED, 1)]
            if own.numel() == 0 or not bool(rest.any()):
                continue
            part = CountPrior(self.size, self.sizes, values=self.values, blurred=self.blurred)
            part.to(tokens.device)
            part.set_counts(tokens[rest], [p[rest] for p in parents], choose=False)
            parts.append((part, tokens[own], [p[own] for p in parents]))
        shares = [part.base_share()[None, :] for part, _, _ in parts]
        for level in range(len(self.sizes)):
            best, chosen = -float("inf"), STRENGTHS[-1]
            counts = [part._counts(level, own_parents[level]) for part, _, own_parents in parts]
            for strength in STRENGTHS:
                total = 0.0
                for (part, own, _), count, share in zip(parts, counts, shares, strict=True):
                    made = part._mixed(level, count, share, strength)
                    total += float(made.gather(1, own[:, None]).clamp(min=LEAST_SHARE).log().sum())
                if total > best:
                    best, chosen = total, strength
            self.strength[level] = chosen
            shares = [
                part._mixed(level, count, share, chosen)
                for (part, _, _), count, share in zip(parts, counts, shares, strict=True)
            ]

    def base_share(self) -> Tensor:
        """Share of each token without parents: float32 [size]."""
        return (self.base + 0.1) / (self.base.sum() + 0.1 * self.size)

    def _counts(self, level: int, given: Tensor) -> Tensor:
        """Counts of a level under parent tokens [M, P]: float32 [M, size]."""
        keys: Tensor = getattr(self, f"keys_{level}")
        rows: Tensor = getattr(self, f"rows_{level}")
        code = self._code(level, given)
        place = torch.searchsorted(keys, code).clamp(max=max(keys.numel() - 1, 0))
        if keys.numel():
            place = torch.where(keys[place] == code, place, keys.numel())
        return rows[place]

    def _mixed(self, level: int, count: Tensor, share: Tensor, strength: Tensor | float) -> Tensor:
        """Smooth counts [M, size] of a level by the shares of the coarser ones."""
        pseudo: Tensor | float = strength
        if not self.blurred[level]:
            pseudo = strength * (count > 0).sum(1, keepdim=True).clamp(min=1)
        return (count + pseudo * share) / (count.sum(1, keepdim=True) + pseudo)

    def _blur_of(self, device: torch.device) -> Tensor:
        assert self._blur is not None
        return self._blur.to(device)

    def _code(self, level: int, given: Tensor) -> Tensor:
        """One number a tuple of parent tokens [M, P]: int64 [M]."""
        code = torch.zeros_like(given[:, 0])
        for place, size in enumerate(self.sizes[level]):
            code = code * size + given[:, place]
        return code

    def forward(
        self,
        parents: list[Tensor],
        *,
        left_out: Tensor | None = None,
        level_count: int | None = None,
    ) -> Tensor:
        """Return log-probabilities [M, size].

        Args:
            parents: Tokens of the given columns, [M, P] a level; M is 1 where there are none.
            left_out: Tokens [M] that are themselves among the counts, and are not to be counted.
            level_count: Levels to use, None for all.
        """
        if left_out is None and level_count is None and self.sizes and not self.training:
            return self._remembered(parents)
        one = None
        if left_out is not None:
            one = nn.functional.one_hot(left_out, self.size).float()
        count = self.base[None, :] if one is None else (self.base[None, :] - one).clamp(min=0)
        share = (count + 0.1) / (count.sum(1, keepdim=True) + 0.1 * self.size)
        for level in range(len(self.sizes) if level_count is None else level_count):
            count = self._counts(level, parents[level])
            if one is not None and left_out is not None:
                own = self._blur_of(count.device)[left_out] if self.blurred[level] else one
                count = (count - own).clamp(min=0)
            share = self._mixed(level, count, share, self.strength[level])
        return share.clamp(min=LEAST_SHARE).log()

    def _remembered(self, parents: list[Tensor]) -> Tensor:
        """`forward`, each row computed once, known again by a hash of all its parents."""
        levels = len(self.sizes)
        code = torch.zeros_like(parents[-1][:, 0])
        for level, given in enumerate(parents):
            code = (code + self._code(level, given)) * HASH  # modulo 2**64
        if self._memory is None:
            self._memory = code[:0], self.base.new_zeros(0, self.size)
        known, table = self._memory
        place = torch.searchsorted(known, code).clamp(max=max(known.numel() - 1, 0))
        if known.numel() == 0 or not bool((known[place] == code).all()):
            fresh, index = torch.unique(code, return_inverse=True)
            first = torch.empty_like(fresh).scatter_(
                0, index, torch.arange(code.numel(), device=code.device)
            )
            rows = self([p[first] for p in parents], level_count=levels)
            if (known.numel() + fresh.numel()) * self.size > LARGEST_TABLE:
                answer: Tensor = rows[index]
                return answer
            known, order = torch.unique(torch.cat([known, fresh]), return_inverse=True)
            merged = rows.new_empty(known.numel(), self.size)
            merged[order] = torch.cat([table, rows])
            self._memory = known, merged
            table, place = merged, torch.searchsorted(known, code)
        found: Tensor = table[place]
        return found

    def seen(self, parents: list[Tensor]) -> Tensor:
        """Tell which tokens occurred under the closest parents that were met often: [M, size].

        Where no parents were met ENOUGH times, all tokens count as seen.
        """
        found = torch.ones(
            parents[-1].shape[0], self.size, dtype=torch.bool, device=self.base.device
        )
        for level in range(len(self.sizes)):
            count = self._counts(level, parents[level])
            often = count.sum(1, keepdim=True) >= ENOUGH
            found = torch.where(often, count > 0, found)
        return found

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        """Take buffers of whatever length the model file has."""
        self._memory = None
        for name in list(self._buffers):
            if prefix + name in state_dict:
                setattr(self, name, state_dict[prefix + name].clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
