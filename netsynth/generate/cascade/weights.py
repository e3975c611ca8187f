"""Re-weighting of conditions at sampling time: more elephants, fewer mice, more of a label.

References:
    CascadeNet section 10 names it as what conditional inputs make possible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netsynth.errors import ConfigError
from netsynth.generate.cascade.flow_data import CONDITIONS
from netsynth.numbers import Array, FloatArray, IntArray, NumberCodec

ELEPHANTS = 0.01  # share of flows, those of most packets, that are elephants
CLASSES = ("elephant", "mouse")
LABEL = "label:"


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightClasses:
    """What level 0 must favour for a class of flows.

    Attributes:
        pairs: int64 [M, 2], tokens of packets forward and reverse that occurred together.
        counts: int64 [M].
        packets: float64 [M], packets of such flows both ways, on average.
        sizes: int64 [3], tokens of packets forward and reverse, and labels.
        elephant: Packets an elephant has at least.
        mouse: Packets a mouse has at most.
    """

    pairs: IntArray
    counts: IntArray
    packets: FloatArray
    sizes: IntArray
    elephant: float
    mouse: float

    def label_boost(self, weights: dict[str, float], *, device: torch.device) -> Tensor | None:
        """Log weights of labels, float32 [size]; None where no label is weighted."""
        label = np.zeros(int(self.sizes[2]))
        for name, weight in weights.items():
            if name.startswith(LABEL):
                label[int(name.removeprefix(LABEL))] = math.log(weight)
        return torch.as_tensor(label, dtype=torch.float32, device=device) if label.any() else None

    def pair_weights(self, weights: dict[str, float]) -> FloatArray:
        """How much likelier each of `pairs` becomes by the classes of sizes: float64 [M]."""
        pair = np.ones(self.counts.size)
        pair[self.packets >= self.elephant] *= weights.get("elephant", 1.0)
        pair[self.packets <= self.mouse] *= weights.get("mouse", 1.0)
        return pair

    def boosts(self, pair: FloatArray, *, device: torch.device) -> dict[str, Tensor]:
        """Turn weights of pairs [M] into log weights of tokens, see `StartRequest`.

        A pair of tokens (forward, reverse) of weight w is drawn w times as often: the first token
        by its mean weight over the second, the second given the first.
        """
        if (pair == 1).all():
            return {}
        forward = np.bincount(self.pairs[:, 0], self.counts, int(self.sizes[0]))
        heavy = np.bincount(self.pairs[:, 0], self.counts * pair, int(self.sizes[0]))
        mean = np.where(forward > 0, heavy / np.maximum(forward, 1), 1.0)
        table = np.zeros((int(self.sizes[0]), int(self.sizes[1])))
        table[self.pairs[:, 0], self.pairs[:, 1]] = np.log(pair)
        return {
            "packets_forward": torch.as_tensor(np.log(mean), dtype=torch.float32, device=device),
            "packets_reverse": torch.as_tensor(table, dtype=torch.float32, device=device),
        }

    def to_arrays(self) -> dict[str, Array]:
        """Return the classes as named arrays, for a model file."""
        return {
            "classes.pairs": self.pairs,
            "classes.counts": self.counts,
            "classes.packets": self.packets,
            "classes.sizes": self.sizes,
            "classes.bounds": np.array([self.elephant, self.mouse]),
        }

    @staticmethod
    def from_arrays(arrays: dict[str, Array]) -> WeightClasses:
        """Inverse of `to_arrays`."""
        elephant, mouse = arrays["classes.bounds"].tolist()
        return WeightClasses(
            pairs=arrays["classes.pairs"],
            counts=arrays["classes.counts"],
            packets=arrays["classes.packets"],
            sizes=arrays["classes.sizes"],
            elephant=float(elephant),
            mouse=float(mouse),
        )


def check_weights(weights: dict[str, float], *, label_count: int) -> None:
    """Check the names and values of classes' weights.

    Args:
        weights: By class; a label's is named by its token.
        label_count: Labels learned, the first for none.

    Raises:
        ConfigError: If a class is unknown, or a weight is no positive number.
    """
    labels = {f"{LABEL}{token}" for token in range(label_count)}
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight > 0):
            raise ConfigError(f"the weight of {name} is {weight}, but must be above 0")
        if name not in CLASSES and name not in labels:
            classes = ", ".join((*CLASSES, f"{LABEL}NAME"))
            raise ConfigError(f"there is no class {name}; there are {classes}")


def fit_weight_classes(
    codecs: dict[str, NumberCodec], numbers: FloatArray, *, label_count: int
) -> WeightClasses:
    """Learn which flows are elephants and mice.

    Args:
        codecs: Of level 0.
        numbers: float64 [F, 11], CONDITIONS.
        label_count: Labels, the first for none.
    """
    columns = [CONDITIONS.index(f"packets_{way}") for way in ("forward", "reverse")]
    names = ("packets_forward", "packets_reverse")
    tokens = np.stack(
        [codecs[n].encode(numbers[:, c]) for n, c in zip(names, columns, strict=True)], axis=1
    )
    packets = numbers[:, columns].sum(axis=1)
    pairs, place, counts = np.unique(tokens, axis=0, return_inverse=True, return_counts=True)
    ordered = np.sort(packets)
    elephants = max(1, round(ELEPHANTS * packets.size))
    return WeightClasses(
        pairs=pairs,
        counts=counts.astype(np.int64),
        packets=np.bincount(place.ravel(), packets) / counts,
        sizes=np.array([codecs[names[0]].size, codecs[names[1]].size, label_count]),
        elephant=float(ordered[-elephants]),
        mouse=float(np.median(packets)),
    )
