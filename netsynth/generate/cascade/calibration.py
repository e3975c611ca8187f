"""Level 0 corrected by what it draws: elephants are few, and a net stopped early forgets them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.cascade.start_drawing import StartRequest, draw_skeletons
from netsynth.generate.cascade.start_level import StartLevel, octaves
from netsynth.numbers import Array, FloatArray, IntArray, NumberCodec

FLOWS = 20_000  # to draw, about, and windows at most to draw them in
WINDOWS = 8
PART_FLOWS, MOST_PARTS = 256, 64  # flows that follow each other, and parts of a window
MOST_PACE = 4.0
LEAN = 0.1  # of the learned share is added to both, so that nothing is divided by 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Log weights of tokens by which drawn packets come out as learned ones.

    Attributes:
        forward: float64 [size], of packets forward.
        reverse: float64 [size, size], of packets reverse, given those forward.
        pace: Factor of the gaps between flows, by which windows hold as many as learned.
    """

    forward: FloatArray
    reverse: FloatArray
    pace: float = 1.0

    def add_to(self, boosts: dict[str, Tensor], *, device: torch.device) -> dict[str, Tensor]:
        """Return `boosts` (see `StartRequest`) with these added."""
        own = {"packets_forward": self.forward, "packets_reverse": self.reverse}
        summed = dict(boosts)
        for name, values in own.items():
            log = torch.as_tensor(values, dtype=torch.float32, device=device)
            summed[name] = summed[name] + log if name in summed else log
        return summed

    def to_arrays(self) -> dict[str, Array]:
        """Return the weights as named arrays, for a model file."""
        return {
            "calibration.forward": self.forward,
            "calibration.reverse": self.reverse,
            "calibration.pace": np.array([self.pace]),
        }

    @staticmethod
    def from_arrays(arrays: dict[str, Array]) -> Calibration:
        """Inverse of `to_arrays`."""
        return Calibration(
            forward=arrays["calibration.forward"],
            reverse=arrays["calibration.reverse"],
            pace=float(arrays["calibration.pace"][0]),
        )


def no_calibration(codecs: dict[str, NumberCodec]) -> Calibration:
    """Weights that change nothing."""
    forward, reverse = codecs["packets_forward"].size, codecs["packets_reverse"].size
    return Calibration(forward=np.zeros(forward), reverse=np.zeros((forward, reverse)))


def calibrate(
    level: StartLevel,
    codecs: dict[str, NumberCodec],
    learned: IntArray,
    *,
    learned_windows: int,
    window_ns: int,
    seed: int,
) -> Calibration:
    """Draw flows and compare their packets with the learned ones, by octaves either way.

    The parts of a window are drawn side by side: one after the other, 15,000 flows take a minute.

    Args:
        level: The trained level 0.
        codecs: Its numbers.
        learned: int64 [F, 2], tokens of packets forward and reverse of the learned flows.
        learned_windows: Windows that these lie in.
        window_ns: Length of a window.
        seed: Of the draws.
    """
    device = level.clock.weight.device
    flows = learned.shape[0] / learned_windows
    windows = int(np.clip(round(FLOWS / max(learned.shape[0], 1)), 2, WINDOWS))
    parts = int(np.clip(flows // PART_FLOWS, 1, MOST_PARTS))
    begins = torch.arange(parts, dtype=torch.float64, device=device) * (window_ns / parts)
    begins = begins.repeat(windows)  # parts of all windows, side by side
    request = StartRequest(
        window_ns=window_ns, random=torch.Generator(device=device).manual_seed(seed),
        flow_limit=int(16 * flows / parts) + 100, begins=begins, until=begins + window_ns / parts,
    )  # fmt: skip
    _, _, skeleton, _ = draw_skeletons(level, windows * parts, request)
    made = skeleton[:, 2:].cpu().numpy()
    compared = compare_pairs(
        learned, made, octaves(codecs["packets_forward"]), octaves(codecs["packets_reverse"])
    )
    pace = (made.shape[0] / windows) / max(flows, 1e-9)
    return dataclasses.replace(compared, pace=float(np.clip(pace, 1 / MOST_PACE, MOST_PACE)))


def compare_pairs(
    learned: IntArray, made: IntArray, forward: IntArray, reverse: IntArray
) -> Calibration:
    """Weights that turn the shares of `made` pairs of tokens [M, 2] into those of `learned` [F, 2].

    Pairs are counted by their octaves, `forward` and `reverse` [size] of each token.
    """
    shape = int(forward.max()) + 1, int(reverse.max()) + 1
    tables = []
    for pairs in (learned, made):
        table = np.zeros(shape)
        np.add.at(table, (forward[pairs[:, 0]], reverse[pairs[:, 1]]), 1.0)
        tables.append(table / max(pairs.shape[0], 1))
    lean = LEAN * tables[0] + 1e-9
    ratio = (tables[0] + lean) / (tables[1] + lean)
    of_forward = (tables[0].sum(1) + lean.sum(1)) / (tables[1].sum(1) + lean.sum(1))
    return Calibration(
        forward=np.log(np.clip(of_forward, 0.1, 10))[forward],
        reverse=np.log(np.clip(ratio, 0.1, 10))[np.ix_(forward, reverse)],
    )
