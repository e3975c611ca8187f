"""G3 as flat arrays, for the loop that draws records on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from netsynth.generate.cascade.networks import SEEN
from netsynth.generate.cascade.number_maps import NumberMaps
from netsynth.generate.cascade.pairs import Cascade
from netsynth.generate.cascade.record_data import POSITION
from netsynth.generate.cascade.record_rules import KindRules
from netsynth.generate.cascade.scale import Scale
from netsynth.generate.cascade.scales import CascadeScales
from netsynth.generate.transformer.field_arrays import as_float32
from netsynth.numbers import Array

NORMALS = 4096  # equally likely values by which noise is drawn


class RecordArrays(NamedTuple):
    """A RecordNet as arrays, its first layer cut by what its inputs hang on.

    H is its width, R the records it remembers, K the kinds.
    """

    known: Array  # float32 [Q, H], of conditions and tuples: once a flow
    steps: Array  # float32 [S, H], of the window of steps: once a step
    position: Array  # float32 [POSITION + 2 R + noise, H], of what changes with each record
    previous: Array  # float32 [R, K + 1, H], of the kinds before; 0: none
    bias: Array  # float32 [H]
    deeper: Array  # float32 [L, H, H], further layers, a GELU behind each
    deeper_bias: Array  # float32 [L, H]
    kinds: Array  # float32 [H, K]
    kinds_bias: Array  # float32 [K]
    finish: Array  # float32 [H, J]
    finish_kind: Array  # float32 [K, J], a row and the bias for each kind
    numbers: Array  # float32 [J, 2]
    numbers_bias: Array  # float32 [2]
    normal: Array  # float32 [NORMALS], quantiles of the normal distribution
    noise: int
    made: Array  # float32 [2, M, KNOTS], see NumberMaps
    real: Array  # float32 [2, M, KNOTS]
    map_rows: Array  # int64 [S + 1, K]
    knots: Array  # float64, of payloads; see Scale
    images: Array  # float64
    largest: int
    # what may occur where; see KindRules
    of_protocol: Array  # uint8 [P, K]
    reverse: Array  # int64 [K]
    payload: Array  # uint8 [K]
    state: Array  # int64 [K]


def pack_records(
    cascade: Cascade, scales: CascadeScales, rules: KindRules, maps: NumberMaps
) -> RecordArrays:
    """Copy G3 to arrays."""
    net, places = cascade.g3, cascade.places
    linears = [layer for layer in net.body.modules() if isinstance(layer, nn.Linear)]
    first, deeper = linears[0], linears[1:]
    weight = first.weight.detach().T.float().cpu()  # [inputs, H]
    history, table = places.history, places.table.float().cpu()
    steps = net.window * SEEN if net.backbone == "mlp" else net.steps.hidden_size
    known = weight.shape[0] - steps - places.width - net.noise
    at = known + steps
    kinds_at, numbers_at = at + POSITION, at + POSITION + history * table.shape[1]
    previous = weight[kinds_at:numbers_at].view(history, table.shape[1], -1)
    changing = torch.cat([weight[at:kinds_at], weight[numbers_at:]])
    body, last = (layer for layer in net.finish if isinstance(layer, nn.Linear))
    width = first.out_features
    none = torch.zeros(0, width, width), torch.zeros(0, width)
    length: Scale = scales.record[0]
    normal = torch.special.ndtri((torch.arange(NORMALS).double() + 0.5) / NORMALS)
    return RecordArrays(
        known=as_float32(weight[:known]),
        steps=as_float32(weight[known:at]),
        position=as_float32(changing),
        previous=as_float32(torch.einsum("kx,rxh->rkh", table, previous)),
        bias=as_float32(first.bias),
        deeper=as_float32(torch.stack([d.weight.T for d in deeper]) if deeper else none[0]),
        deeper_bias=as_float32(torch.stack([d.bias for d in deeper]) if deeper else none[1]),
        kinds=as_float32(net.kinds.weight.T),
        kinds_bias=as_float32(net.kinds.bias),
        finish=as_float32(body.weight.T[:width]),
        finish_kind=as_float32(body.weight.T[width:] + body.bias),
        numbers=as_float32(last.weight.T),
        numbers_bias=as_float32(last.bias),
        normal=as_float32(normal / normal.std()),
        noise=net.noise,
        made=maps.made,
        real=maps.real,
        map_rows=maps.rows,
        knots=length.knots.astype(np.float64),
        images=length.images.astype(np.float64),
        largest=length.largest,
        of_protocol=rules.of_protocol.cpu().numpy().astype(np.uint8),
        reverse=rules.reverse.cpu().numpy().astype(np.int64),
        payload=rules.payload.cpu().numpy().astype(np.uint8),
        state=rules.state.cpu().numpy().astype(np.int64),
    )
