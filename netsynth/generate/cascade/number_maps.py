"""Payloads and gaps corrected by what G3 makes on real inputs: G3 says who, counts how many.

A critic takes hours to get the thousandth part of a kind's gaps right, and the shortest ones decide
the throughput of a flow. So the ranks of what G3 makes are kept, kind by kind, and their values are
those learned, as level 0 is calibrated by what it draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netsynth.generate.cascade.pairs import Batches, as_numpy
from netsynth.generate.cascade.precision import forked_random
from netsynth.numbers import Array

KNOTS = 65  # quantiles of each map
FEWEST = 2 * KNOTS  # records of a kind with a map of its own
ROWS = 60_000  # records that are looked at, at most
AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberMaps:
    """Rising maps of the images of payload and gap, one a kind; see Scale for images.

    Attributes:
        made: float32 [2, K, KNOTS], quantiles of what G3 makes, ascending.
        real: float32 [2, K, KNOTS], those of the learned records.
    """

    made: Array
    real: Array

    def apply(self, kind: Tensor, image: Tensor) -> Tensor:
        """Correct images [M, 2] of records of `kind` [M]."""
        columns = []
        for column in range(2):
            made = torch.as_tensor(self.made[column], device=image.device)[kind]  # [M, KNOTS]
            real = torch.as_tensor(self.real[column], device=image.device)[kind]
            x = image[:, column : column + 1].contiguous()
            above = torch.searchsorted(made, x, right=True).clamp(1, KNOTS - 1)
            low, high = made.gather(1, above - 1), made.gather(1, above)
            share = ((x - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
            start, stop = real.gather(1, above - 1), real.gather(1, above)
            columns.append(start + share * (stop - start))
        return torch.cat(columns, dim=1)

    def to_arrays(self) -> dict[str, Array]:
        """Return the maps as named arrays, for a model file."""
        return {"maps.made": self.made, "maps.real": self.real}

    @staticmethod
    def from_arrays(arrays: dict[str, Array]) -> NumberMaps:
        """Inverse of `to_arrays`."""
        return NumberMaps(made=arrays["maps.made"], real=arrays["maps.real"])


def no_maps(kinds: int) -> NumberMaps:
    """Maps of `kinds` kinds that change nothing."""
    line = np.broadcast_to(np.linspace(-1, 1, KNOTS, dtype=np.float32), (2, kinds, KNOTS)).copy()
    return NumberMaps(made=line, real=line)


@torch.no_grad()
def fit_number_maps(batches: Batches, *, seed: int) -> NumberMaps:
    """Compare what G3 makes of real inputs with the records themselves, kind by kind."""
    data, cascade = batches.data, batches.cascade
    count = data.kind.numel()
    kinds = cascade.record_parts[0].stop
    if count == 0:
        return no_maps(kinds)
    device = data.kind.device
    rows = torch.linspace(0, count - 1, min(count, ROWS), device=device).long()
    parts = []
    with forked_random(device):
        torch.manual_seed(seed)
        for at in range(0, rows.numel(), AT_ONCE):
            some = rows[at : at + AT_ONCE]
            flow = data.flow[some]
            state, _ = cascade.read_records(
                data.conditions[flow], data.tuples[flow], batches.windows.of(data.row[some]),
                data.place.take(some),
            )  # fmt: skip
            one_hot = nn.functional.one_hot(data.kind[some], kinds).float()
            parts.append(as_numpy(cascade.g3.numbers(state, one_hot)))
    made, real = np.concatenate(parts), as_numpy(data.numbers[rows])
    return compare_numbers(data.kind[rows].cpu().numpy(), made, real, kinds=kinds)


def compare_numbers(kind: Array, made: Array, real: Array, *, kinds: int) -> NumberMaps:
    """Maps that give `made` [M, 2] the distribution of `real` [M, 2], in each kind [M].

    Kinds met fewer than FEWEST times get the map of all kinds together.
    """
    share = np.linspace(0, 1, KNOTS)
    tables = []
    for values in (made, real):
        common = np.quantile(values, share, axis=0).T  # [2, KNOTS]
        table = np.repeat(common[:, None], kinds, axis=1)  # [2, K, KNOTS]
        for k in np.flatnonzero(np.bincount(kind, minlength=kinds) >= FEWEST):
            table[:, k] = np.quantile(values[kind == k], share, axis=0).T
        tables.append(table.astype(np.float32))
    return NumberMaps(made=tables[0], real=tables[1])
