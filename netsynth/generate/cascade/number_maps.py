"""Payloads and gaps corrected by what G3 makes on real inputs: G3 says who, counts how many.

A critic takes hours to get the thousandth part of a kind's gaps right, and the shortest ones decide
the throughput of a flow. So the ranks of what G3 makes are kept, kind by kind in each service, and
their values are those learned, as level 0 is calibrated by what it draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netsynth.generate.cascade.pairs import Batches, as_numpy
from netsynth.generate.cascade.precision import forked_random
from netsynth.numbers import Array, IntArray

KNOTS = 65  # quantiles of each map
FEWEST = 2 * KNOTS  # records of a map
ROWS = 200_000  # records that are looked at, at most
AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberMaps:
    """Rising maps of the images of payload and gap; see Scale for images.

    Attributes:
        made: float32 [2, M, KNOTS], quantiles of what G3 makes, ascending.
        real: float32 [2, M, KNOTS], those of the learned records.
        rows: int64 [S + 1, K], the map of records of a service and kind; the last row is that of
            services which were not met.
    """

    made: Array
    real: Array
    rows: IntArray

    def apply(self, service: Tensor, kind: Tensor, image: Tensor) -> Tensor:
        """Correct images [M, 2] of records of `kind` [M] in flows of `service` [M]."""
        rows = torch.as_tensor(self.rows, device=image.device)
        row = rows[service.clamp(max=rows.shape[0] - 1), kind]
        columns = []
        for column in range(2):
            made = torch.as_tensor(self.made[column], device=image.device)[row]  # [M, KNOTS]
            real = torch.as_tensor(self.real[column], device=image.device)[row]
            x = image[:, column : column + 1].contiguous()
            above = torch.searchsorted(made, x, right=True).clamp(1, KNOTS - 1)
            low, high = made.gather(1, above - 1), made.gather(1, above)
            share = ((x - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
            start, stop = real.gather(1, above - 1), real.gather(1, above)
            columns.append(start + share * (stop - start))
        return torch.cat(columns, dim=1)

    def to_arrays(self) -> dict[str, Array]:
        """Return the maps as named arrays, for a model file."""
        return {"maps.made": self.made, "maps.real": self.real, "maps.rows": self.rows}

    @staticmethod
    def from_arrays(arrays: dict[str, Array]) -> NumberMaps:
        """Inverse of `to_arrays`."""
        return NumberMaps(
            made=arrays["maps.made"], real=arrays["maps.real"], rows=arrays["maps.rows"]
        )


def no_maps(kinds: int) -> NumberMaps:
    """Maps of `kinds` kinds that change nothing."""
    line = np.broadcast_to(np.linspace(-1, 1, KNOTS, dtype=np.float32), (2, 1, KNOTS)).copy()
    return NumberMaps(made=line, real=line, rows=np.zeros((1, kinds), dtype=np.int64))


@torch.no_grad()
def fit_number_maps(batches: Batches, *, seed: int) -> NumberMaps:
    """Compare what G3 makes of real inputs with the records themselves, by service and kind."""
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
    service, kind = data.service[data.flow[rows]].cpu().numpy(), data.kind[rows].cpu().numpy()
    services = int(data.service.max()) + 1
    return compare_numbers(service, kind, made, real, services=services, kinds=kinds)


def compare_numbers(
    service: IntArray, kind: IntArray, made: Array, real: Array, *, services: int, kinds: int
) -> NumberMaps:
    """Maps that give `made` [M, 2] the distribution of `real` [M, 2], in each service and kind.

    Where a kind [M] was met fewer than FEWEST times in a service [M], it goes by the map of its
    kind in all of them; where it was met as seldom there, by that of all kinds.
    """
    rows = np.zeros((services + 1, kinds), dtype=np.int64)
    groups = [np.arange(kind.size)]  # of records, one a map
    for k in np.flatnonzero(np.bincount(kind, minlength=kinds) >= FEWEST).tolist():
        of_kind = np.flatnonzero(kind == k)
        rows[:, k] = len(groups)
        groups.append(of_kind)
        often = np.bincount(service[of_kind], minlength=services) >= FEWEST
        for s in np.flatnonzero(often).tolist():
            rows[s, k] = len(groups)
            groups.append(of_kind[service[of_kind] == s])
    share = np.linspace(0, 1, KNOTS)
    tables = [
        np.stack([np.quantile(values[some], share, axis=0).T for some in groups], axis=1)
        for values in (made, real)
    ]  # [2, M, KNOTS] each
    return NumberMaps(made=tables[0].astype("f4"), real=tables[1].astype("f4"), rows=rows)
