"""Waiting for events, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], seconds: float = 10, what: str = "") -> T:
    """Asks until the answer is true in a test, and returns it. Fails after that many seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what or condition}; last answer: {answer!r}")
        time.sleep(0.02)
    return answer
