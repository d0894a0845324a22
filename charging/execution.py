"""Run commands without the lane: for the control plane, sweeps and commands of manage.py. Blocking."""

import threading
from collections.abc import Sequence
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import OperationalError
from psycopg.conninfo import make_conninfo

from billing import lapses
from charging import store
from charging.channel import Channel, complete
from charging.commands import Command
from charging.outcomes import Done, Outcome, Refused
from charging.plans import Plans
from charging.store import Skipped, Transient
from merchants.errors import Unavailable

TRIES_MAX = 3

_catalogue = Plans()
_local = threading.local()


def database_url() -> str:
    """Return how to connect to the database that Django is configured for."""
    settings = connections[DEFAULT_DB_ALIAS].settings_dict
    wanted = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return make_conninfo(**{name: settings[key] for name, key in wanted.items() if settings.get(key)})


def execute(commands: Sequence[Command]) -> list[Outcome]:
    """Carry out commands in one transaction, waiting for customers that are busy; durable on return.

    Those of customers who have credit to be written off first are carried out in a second one.

    Raises Unavailable when the database cannot be reached.
    """
    outcomes = _execute(commands)
    late = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Skipped) and outcome.has_lapsed]
    if late:
        for customer_id in dict.fromkeys(commands[index].customer_id for index in late):
            lapses.write_down(customer_id[15], UUID(bytes=customer_id))
        for index, outcome in zip(late, _execute([commands[index] for index in late]), strict=True):
            outcomes[index] = outcome
    return [store.busy() if isinstance(outcome, Skipped) else outcome for outcome in outcomes]


def _execute(commands: Sequence[Command]) -> list[Outcome | Skipped]:
    for attempt in range(TRIES_MAX):
        try:
            channel = _channel()
            return complete(channel, store.run(channel, commands, _catalogue, is_repeated=attempt > 0))
        except (Transient, OperationalError):
            continue
    raise Unavailable()


def execute_one(command: Command) -> Done:
    """Carry out one command; raises the ServiceError that refused it."""
    outcome = execute([command])[0]
    if isinstance(outcome, Refused):
        raise outcome.error
    return outcome


def _channel() -> Channel:
    """Return this thread's connection; a new one when the old is gone or Django's database has changed."""
    url = database_url()
    channel: Channel | None = getattr(_local, "channel", None)
    if channel is None or channel.closed or _local.url != url:
        if channel is not None:
            channel.close()
        channel = store.connect(url)
        _local.channel, _local.url = channel, url
    return channel


def hang_up() -> None:
    """Close this thread's connection, if it has one."""
    channel: Channel | None = getattr(_local, "channel", None)
    if channel is not None:
        channel.close()
        _local.channel = None
