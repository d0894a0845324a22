"""Racing: the same work on several database connections at once."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection

START_SECONDS_MAX = 10
WORK_SECONDS_MAX = 60


def run(count: int, work: Callable[[int], Any], *, seconds_max: float = WORK_SECONDS_MAX) -> list[Any]:
    """Call ``work(0)`` … ``work(count - 1)`` on connections of their own, started together; errors are results too.

    The test needs ``transactional_db``: the connections see only what is committed.
    """
    results: list[Any] = [None] * count
    together = threading.Barrier(count)

    def call(number: int) -> None:
        try:
            connection.ensure_connection()
            together.wait(START_SECONDS_MAX)
            results[number] = work(number)
        except Exception as error:
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds_max)
        assert not thread.is_alive()
    return results
