"""Times that the rest of a window has room for, by hand."""

import numpy as np
import torch

from netsynth.generate.transformer.time_room import NAMES, TimeRoom
from netsynth.numbers import fit_number_codec
from netsynth.tables import TokenField

TIMES = np.repeat([0.0, 10.0, 20.0, 40.0], 50)


def fields() -> tuple[TokenField, ...]:
    """A column that tells no time, then four whose tokens are none, 0, 10, 20 and 40."""
    number = fit_number_codec(TIMES, bin_count=4, atom_count=8, atom_share=0.1)
    assert number.low.tolist() == [0.0, 10.0, 20.0, 40.0]
    times = (TokenField(name=n, size=5, number=number) for n in NAMES)
    rulers = np.array([[1.0, 1.0], [0.5, 10.0]])
    return TokenField(name="service", size=2, rulers=rulers), *times


def test_a_time_fits_or_it_does_not() -> None:
    room = TimeRoom(fields(), torch.tensor([15.0, 40.0, 0.0], dtype=torch.float64)).room
    service = torch.zeros(3, 1, dtype=torch.int64)
    assert room("service", service[:, :0]) is None
    found = room("answer", service)
    assert found is not None
    assert found.tolist() == [
        [True, True, True, False, False],
        [True, True, True, True, True],
        [True, True, False, False, False],
    ]


def test_a_reply_comes_after_the_answer() -> None:
    room = TimeRoom(fields(), torch.tensor([30.0, 30.0], dtype=torch.float64)).room
    found = room("reply", torch.tensor([[0, 2], [0, 3]]))  # answers after 10 and 20
    assert found is not None
    assert found.tolist() == [[True, True, True, True, False], [True, True, True, False, False]]


def test_a_stretch_counts_in_answers_and_replies() -> None:
    room = TimeRoom(fields(), torch.tensor([300.0, 300.0], dtype=torch.float64)).room
    found = room("stretch", torch.tensor([[0, 2, 0], [0, 2, 3]]))  # 10, and 10 + 20
    assert found is not None
    assert found.tolist() == [[True] * 4 + [False], [True, True, True, False, False]]


def test_a_stretch_counts_in_the_services_ruler() -> None:
    """40 ns are 20 where durations go by the root of the trip and 10 is the median."""
    room = TimeRoom(fields(), torch.tensor([300.0, 300.0], dtype=torch.float64)).room
    found = room("stretch", torch.tensor([[0, 2, 3], [1, 3, 3]]))  # 10 + 20, and 20 + 20
    assert found is not None
    assert found.tolist() == [[True, True, True, False, False], [True, True, True, False, False]]
    found = room("stretch", torch.tensor([[0, 3, 3], [1, 3, 3]]))
    assert found is not None
    assert found.tolist()[0] == [True, True, False, False, False]
