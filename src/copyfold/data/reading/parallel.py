"""Threads for decoding: Pillow lets go of the interpreter lock while it decodes and resizes."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[A], B], pieces: Iterable[A], workers: int) -> Iterator[B]:
    """Yield work(piece) for every piece, in order, computed in so many threads; 1 stays in the caller's.

    At most a few results per thread are ever waiting, so that memory does not grow with the number of pieces.
    """
    if workers == 1:
        yield from map(work, pieces)
        return
    waiting: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="copyfold-images")
    try:
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        dismiss(pool)


def dismiss(pool: ThreadPoolExecutor) -> None:
    """Have the threads of a pool end when their work at hand is done, without waiting for them.

    A generator that was left may be closed by the garbage collector, in any thread and at any moment, also while
    a thread is being started; whoever waits for another thread there waits for ever.
    """
    pool.shutdown(wait=False, cancel_futures=True)
