"""One writer at a time, whichever process it is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kofid.errors import ResourceError
from kofid.language import say

# Is told, once, that another process must end first.
OnWait = Callable[[str], None]


@contextmanager
def locked(file: Path, what: Path, on_wait: OnWait | None = None) -> Iterator[None]:
    """Hold a lock file while the block runs; the system lets go of it when the process ends, however that happens.

    Where another process holds it, ``on_wait`` is told so and the block runs when that one has ended; without ``on_wait``
    raises ResourceError naming ``what`` at once.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if on_wait is None:
            raise ResourceError(
                say(
                    f"{what}: 다른 kofid가 지금 여기에 쓰고 있습니다. 끝난 뒤 다시 하세요.",
                    f"{what}: another kofid is writing here; try again when it has ended",
                )
            ) from error
        on_wait(
            say(f"{what}: 다른 kofid가 만들고 있어 기다립니다", f"{what}: waiting for another kofid that is making it")
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
