"""Work ahead: draw what comes next while what came before is being used.

Whoever sends a sample in its own time, as `tcpreplay` does from a pipe, must not wait for the
next windows until those before them have been sent.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
WORKER = "work ahead"  # name of the thread
LOOK_S = 0.5  # how often a thread that waits looks whether the program has ended


def is_working() -> bool:
    """Tell whether something is still being made, though nobody may want it any more."""
    return any(thread.name == WORKER for thread in threading.enumerate())


def work_ahead(
    items: Iterator[Item],
    *,
    size_of: Callable[[Item], int],
    most: int,
    is_enough: Callable[[], bool],
) -> Iterator[Item]:
    """Yield `items`, the next ones being made by a thread in the meantime.

    The items and their order are the same; an error is raised where it would have been.

    Args:
        items: Made one after the other, by that thread only.
        size_of: Size of an item.
        most: No item is made ahead once the sizes of those waiting sum up to this.
        is_enough: Asked between items; where it says so, none is made before it is asked for.
    """
    ready = threading.Condition()
    waiting: deque[Item] = deque()
    failures: list[BaseException] = []
    is_asked, is_over, is_closed = False, False, False

    def may_go_on() -> bool:
        has_room = sum(map(size_of, waiting)) < most and not is_enough()
        return is_closed or (is_asked and not waiting) or has_room

    def make() -> None:
        nonlocal is_over
        try:
            while True:
                with ready:
                    while not ready.wait_for(may_go_on, timeout=LOOK_S):
                        if not threading.main_thread().is_alive():
                            return
                    if is_closed:
                        return
                item = next(items)
                with ready:
                    waiting.append(item)
                    ready.notify_all()
        except StopIteration:
            pass
        except BaseException as error:
            failures.append(error)
        with ready:
            is_over = True
            ready.notify_all()

    # No daemon: a process that ended inside torch's or numba's threads would abort.
    threading.Thread(target=make, name=WORKER).start()
    try:
        while True:
            with ready:
                is_asked = True
                ready.notify_all()
                ready.wait_for(lambda: bool(waiting) or is_over)
                is_asked = False
                if not waiting:
                    break
                item = waiting.popleft()
                ready.notify_all()
            yield item
        if failures:
            raise failures[0]
    finally:
        with ready:
            is_closed = True
            ready.notify_all()
