"""One function over many things, by threads and in order; things made ahead of who takes them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from resnetkit.watcher import Progress

_CHUNK = 32  # files that a thread takes at once

_T = TypeVar("_T")
_R = TypeVar("_R")


def ordered(
    function: Callable[[_T], _R], items: Sequence[_T], *, threads: int, progress: Progress | None, chunk: int = _CHUNK
) -> Iterator[_R]:
    """Yield `function(item)` in order, computed by threads that are never far ahead of what has been taken.

    A thread takes `chunk` items at once; the results of at most `4 * threads + 1` chunks are waiting. One thread is
    the caller's own: handing small pictures over costs a quarter of what reading them does.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    if threads == 1:
        for number, taken in enumerate(chunks):
            yield from map(function, taken)
            if progress:
                progress(min((number + 1) * chunk, len(items)), len(items))
        return
    waiting: deque[Future[list[_R]]] = deque()
    done = 0
    pool = ThreadPoolExecutor(threads)
    try:
        for taken in chunks:
            waiting.append(pool.submit(lambda part: [function(item) for item in part], taken))
            while waiting and (len(waiting) > 4 * threads or taken is chunks[-1]):
                results = waiting.popleft().result()
                yield from results
                done += len(results)
                if progress:
                    progress(done, len(items))
    finally:
        # Not waited for: what was left half read may be collected in one of these very threads.
        pool.shutdown(wait=False, cancel_futures=True)


def ahead(items: Iterable[_T], *, limit: int) -> Generator[_T]:
    """Yield `items` in order, made by one thread that is at most `limit` of them ahead; it ends with the generator.

    What raises while they are made raises here, after those that were made before.
    """
    waiting: queue.Queue[Any] = queue.Queue(maxsize=limit)
    left, end = threading.Event(), object()

    def put(thing: object) -> bool:
        while not left.is_set():
            try:
                waiting.put(thing, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        made = iter(items)
        try:
            for item in made:
                if not put((item, None)):
                    return
        except BaseException as problem:
            put((end, problem))
        else:
            put((end, None))
        finally:
            if isinstance(made, Generator):
                made.close()  # in the thread that ran it

    maker = threading.Thread(target=make, name="ahead", daemon=True)
    maker.start()
    try:
        while True:
            item, problem = waiting.get()
            if problem is not None:
                raise problem
            if item is end:
                return
            yield item
    finally:
        left.set()
        maker.join()
