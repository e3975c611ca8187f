"""Working ahead changes when things are made, not what comes out."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from netsynth.ahead import work_ahead

LIMIT_S = 20


class Maker:
    """Counts how many numbers were made, and lets a test wait for a count."""

    def __init__(self, count: int) -> None:
        self.count, self.made = count, 0
        self.changed = threading.Condition()

    def items(self) -> Iterator[int]:
        for number in range(self.count):
            with self.changed:
                self.made += 1
                self.changed.notify_all()
            yield number

    def wait_for(self, made: int, limit_s: float = LIMIT_S) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.made >= made, limit_s)


def test_items_come_in_order_and_end() -> None:
    numbers = work_ahead(iter(range(50)), size_of=lambda _: 1, most=3, is_enough=lambda: False)
    assert list(numbers) == list(range(50))


def test_the_next_items_are_made_while_one_is_used_but_no_more_than_fit() -> None:
    maker = Maker(50)
    ahead = work_ahead(maker.items(), size_of=lambda _: 1, most=3, is_enough=lambda: False)
    assert next(ahead) == 0
    assert maker.wait_for(4)  # 1, 2, 3 wait
    assert not maker.wait_for(5, limit_s=0.2)
    assert maker.made == 4
    ahead.close()  # type: ignore[attr-defined]


def test_where_it_is_enough_nothing_is_made_that_nobody_asks_for() -> None:
    maker = Maker(5)
    ahead = work_ahead(
        maker.items(), size_of=lambda _: 1, most=9, is_enough=lambda: maker.made >= 2
    )
    assert [next(ahead), next(ahead)] == [0, 1]
    assert maker.made == 2
    assert list(ahead) == [2, 3, 4]


def test_errors_arrive_after_what_was_made_before_them() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    ahead = work_ahead(items(), size_of=lambda _: 1, most=9, is_enough=lambda: False)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="no more"):
        next(ahead)


def test_closing_ends_the_thread() -> None:
    maker = Maker(1000)
    ahead = work_ahead(maker.items(), size_of=lambda _: 1, most=2, is_enough=lambda: False)
    next(ahead)
    before = {thread for thread in threading.enumerate() if thread.name == "work ahead"}
    ahead.close()  # type: ignore[attr-defined]
    for thread in before:
        thread.join(LIMIT_S)
        assert not thread.is_alive()


SCRIPT = """
import sys, time
from netsynth.ahead import work_ahead
def items():
    for number in range(100):
        time.sleep(0.01)
        yield number
ahead = work_ahead(items(), size_of=lambda _: 1, most=5, is_enough=lambda: False)
assert next(ahead) == 0
"""


@pytest.mark.parametrize("end", ["", "ahead.close()", "raise ValueError"])
def test_a_program_that_wants_no_more_ends(end: str) -> None:
    """At once, and without an abort, whether the iterator was closed, left alone or failed."""
    command = [sys.executable, "-c", SCRIPT + end]
    done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
    assert done.returncode == (1 if "raise" in end else 0), done.stderr
