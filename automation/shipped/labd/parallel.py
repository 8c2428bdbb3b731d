"""The same for many, side by side."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do the same for many items side by side; results in order, the first error raised at the end."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(work, items))
