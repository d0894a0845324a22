"""A conversation with the database that breaks off at any moment: what was said twice happens once."""

import os
import select
import socket
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from billing.models import Charge
from charging import execution, store
from charging.book import Event
from charging.channel import Channel, Steps, complete
from charging.commands import Command
from charging.outcomes import Done
from charging.plans import Plans
from charging.store import Transient
from entitlements.models import Reservation
from metering.models import UsageEvent
from tests.charging.sellers import Seller, seller

pytestmark = pytest.mark.django_db(transaction=True)

MILL = 1_000_000
WAITS_MAX = 100

Loss = Callable[[Channel], None]


def terminate(channel: Channel) -> None:
    """The server ends the session, and says so."""
    pid = channel._connection.info.backend_pid
    with psycopg.connect(execution.database_url(), autocommit=True) as killer:
        killer.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


def cut(channel: Channel) -> None:
    """The network goes: what the server has sent may not arrive, what it has done is done."""
    with socket.socket(fileno=os.dup(channel.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def cut_after_commit(channel: Channel) -> None:
    """The answer is on its way when the network goes."""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    poll.poll(10_000)
    cut(channel)


def converse(channel: Channel, steps: Steps[Any], moment: int, intervene: Callable[[Channel], None]) -> None:
    """Drive a conversation to its end, and do something before its wait of this number."""
    for number in range(WAITS_MAX):
        try:
            sending = next(steps)
        except StopIteration:
            return
        if number == moment:
            intervene(channel)
            if channel.closed:
                return
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN | (select.POLLOUT if sending else 0))
        assert poll.poll(10_000)
    raise AssertionError("the conversation does not end")


def mixed(shop: Seller) -> list[Command]:
    return [shop.record(0), shop.record(1), shop.hold(0, 10, key="k"), shop.hold(1, 10)]


def clashing(shop: Seller) -> list[Command]:
    """The first two have one id, which the primary key refuses; so all are tried again one by one."""
    commands = mixed(shop)
    first, second = shop.record(0), shop.record(0)
    second.id = first.id
    return [first, second, *commands]


class TestLosingTheConnection:
    @pytest.mark.parametrize("loss", [terminate, cut, cut_after_commit])
    @pytest.mark.parametrize("make", [mixed, clashing])
    def test_at_any_moment_does_nothing_twice_and_loses_nothing(
        self, loss: Loss, make: Callable[[Seller], list[Command]]
    ) -> None:
        for moment in range(WAITS_MAX):
            shop = seller(customers=2)
            commands = make(shop)
            channel = store.connect(execution.database_url())
            steps = store.run(channel, commands, Plans())
            try:
                converse(channel, steps, moment, loss)
                channel.close()
                break
            except Transient:
                assert channel.closed
            fresh = store.connect(execution.database_url())
            outcomes = complete(fresh, store.run(fresh, commands, Plans(), is_repeated=True))
            fresh.close()
            self._check(shop, commands, outcomes)
        assert moment >= 3  # reading, loading the price book, committing

    @staticmethod
    def _check(shop: Seller, commands: list[Command], outcomes: list[Any]) -> None:
        done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
        events = [outcome.answer for outcome in done if isinstance(outcome.answer, Event)]
        assert len(done) == len(commands) - (len(commands) == 6)
        mine = UsageEvent.objects.filter(merchant_id=shop.seeded.merchant.id)
        assert {event.id.bytes for event in mine} == {event.id for event in events}
        assert Charge.objects.filter(source_id__in=[event.id for event in mine]).count() == len(events)
        assert Reservation.objects.filter(merchant_id=shop.seeded.merchant.id).count() == 2
        for customer in (0, 1):
            wallet = shop.wallet(customer)
            assert wallet.held == 10 * MILL
            assert wallet.spent == MILL * sum(
                event.customer_id == shop.record(customer).customer_id for event in events
            )


class TestLeavingAConversation:
    def test_at_any_moment_hangs_up(self) -> None:
        shop = seller(customers=2)
        for moment in range(WAITS_MAX):
            channel = store.connect(execution.database_url())
            steps = store.run(channel, mixed(shop), Plans())
            converse(channel, steps, moment, lambda _, steps=steps: steps.close())  # type: ignore[misc]
            if not channel.closed:
                break
        channel.close()
        assert moment >= 3
