"""What breaks things, at the times and in the order that a seed decides.

A fault is a function of the Farthing it harms and of the nemesis' dice; when it returns, the harm is done and, where it
lasts, over. What was killed is brought back by the product's own supervisor.
"""

import logging
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import redis

from merchants import ids
from tests.faults.farthing import HEAL_SECONDS_MAX, Farthing, family, is_alive, send
from tests.faults.shop import Customer

Fault = Callable[[Farthing, random.Random], None]

logger = logging.getLogger(__name__)

LULL_SECONDS = (0.4, 1.2)
HUNG_SECONDS = 4.0
TERMINATIONS = 5

_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""


def torment(farthing: Farthing, faults: Sequence[Fault], *, seed: int, heal: bool = True) -> None:
    """Inflict every fault once, in the seed's order, each on a Farthing that was whole before it."""
    rng = random.Random(seed)
    logger.warning("seed %s", seed)
    for fault in rng.sample(faults, len(faults)):
        time.sleep(rng.uniform(*LULL_SECONDS))
        logger.warning("%s", fault.__name__)
        fault(farthing, rng)
        if heal:
            farthing.heal()


# --- deaths ----------------------------------------------------------------------------------------------


def kill_web(farthing: Farthing, rng: random.Random) -> None:
    """The web server; those that do its work are left without a parent, and the supervisor ends them."""
    send([farthing.pids()["web"]], signal.SIGKILL)


def kill_web_process(farthing: Farthing, rng: random.Random) -> None:
    """One of the processes that do the web server's work."""
    *workers, _ = farthing.processes("web")
    send([rng.choice(workers)], signal.SIGKILL)


def stop_web(farthing: Farthing, rng: random.Random) -> None:
    """The web server is asked to end, and the supervisor starts another."""
    pid = farthing.pids()["web"]
    send([pid], signal.SIGTERM)
    farthing.until(lambda: not is_alive(pid), "without its web server", HEAL_SECONDS_MAX)


def kill_worker(farthing: Farthing, rng: random.Random) -> None:
    """The Celery worker with all its pool."""
    send(farthing.processes("worker"), signal.SIGKILL)


def kill_pool_process(farthing: Farthing, rng: random.Random) -> None:
    """One process of the Celery worker's pool, in the middle of a task or not."""
    *pool, _ = farthing.processes("worker")
    send([rng.choice(pool)], signal.SIGKILL)


def kill_beat(farthing: Farthing, rng: random.Random) -> None:
    """What wakes the worker."""
    send(farthing.processes("beat"), signal.SIGKILL)


def kill_redis(farthing: Farthing, rng: random.Random) -> None:
    """Redis, and with it every message, cache and limit."""
    send(farthing.processes("redis"), signal.SIGKILL)


def kill_postgres(farthing: Farthing, rng: random.Random) -> None:
    """The postmaster and every backend, so that nothing gets to write another byte."""
    postmaster = farthing.pids()["postgres"]
    send([postmaster], signal.SIGSTOP)  # or it would take the death of a backend for a crash, and recover by itself
    send(family(postmaster), signal.SIGKILL)


def kill_everything(farthing: Farthing, rng: random.Random) -> None:
    """All at once, as when the power fails, though what the kernel has stays."""
    pids = [pid for name in farthing.pids() for pid in farthing.processes(name)]
    send(pids, signal.SIGKILL)


def kill_supervisor(farthing: Farthing, rng: random.Random) -> None:
    """Who watches the watchman: the next start finds what the last has left."""
    farthing.restart_after_kill()


# --- illnesses -------------------------------------------------------------------------------------------


def hang_web(farthing: Farthing, rng: random.Random) -> None:
    """The web server stands still with books in its hands, and then goes on as if nothing had been."""
    _hang(farthing, "web")


def hang_worker(farthing: Farthing, rng: random.Random) -> None:
    """The worker and its pool stand still for a while, and then go on as if nothing had been."""
    _hang(farthing, "worker")


def hang_redis(farthing: Farthing, rng: random.Random) -> None:
    """Redis accepts, and says nothing."""
    _hang(farthing, "redis")


def _hang(farthing: Farthing, name: str) -> None:
    pids = farthing.processes(name)
    send(pids, signal.SIGSTOP)
    time.sleep(HUNG_SECONDS)
    send(pids, signal.SIGCONT)


def forget_redis(farthing: Farthing, rng: random.Random) -> None:
    """FLUSHALL."""
    with redis.Redis.from_url(farthing.urls.redis) as client:
        client.flushall()


def terminate_backends(farthing: Farthing, rng: random.Random) -> None:
    """Every session is ended, again and again."""
    for _ in range(TERMINATIONS):
        farthing.ask(_TERMINATE)
        time.sleep(rng.uniform(0.05, 0.3))


# --- conditions that last as long as a test wants --------------------------------------------------------


@contextmanager
def without_postgres(farthing: Farthing) -> Iterator[None]:
    """PostgreSQL is gone, and nobody starts it again."""
    assert farthing.supervisor.pid is not None
    send([farthing.supervisor.pid], signal.SIGSTOP)
    try:
        kill_postgres(farthing, random.Random())
        yield
    finally:
        send([farthing.supervisor.pid], signal.SIGCONT)
    farthing.heal()


@contextmanager
def holding(farthing: Farthing, customer: Customer) -> Iterator[None]:
    """A transaction that does not end holds a customer's book."""
    with farthing.admin() as admin, admin.transaction():
        admin.execute(
            "SELECT FROM customers_book WHERE customer_id = %s FOR NO KEY UPDATE", [ids.parse("cus", customer.id)]
        )
        yield
