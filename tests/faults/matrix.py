"""The long matrix: what ``make faults`` runs beside the tests that every ``make test`` runs. Minutes, not seconds."""

import asyncio
import dataclasses
import logging
from collections import Counter

import pytest

from tests.faults import nemesis, probes
from tests.faults.checker import Checker
from tests.faults.clients import working
from tests.faults.farthing import Farthing, memory_bytes
from tests.faults.races import race
from tests.faults.test_crashes import DEATHS

logger = logging.getLogger(__name__)

ROUNDS = 2
EVERYTHING = (
    *DEATHS,
    nemesis.kill_web_process,
    nemesis.kill_pool_process,
    nemesis.kill_everything,
    nemesis.kill_supervisor,
    nemesis.hang_web,
    nemesis.hang_worker,
    nemesis.hang_redis,
    nemesis.forget_redis,
    nemesis.terminate_backends,
)
DOWN_SECONDS = 20.0
HELD_SECONDS = 10.0
MEMORY_GROWS_MAX = 400 * 2**20  # of both web processes together


class TestRacingReservations:
    def test_of_a_hundred_thousand_are_granted_exactly_as_far_as_the_funds_go(
        self, farthing: Farthing, seed: int
    ) -> None:
        outcome = race(farthing, reservations=100_000, funded=60_000, seed=seed)
        assert outcome.verdict.is_green, str(outcome)
        assert (outcome.granted, outcome.refused) == (60_000, 40_000), str(outcome)
        assert outcome.wallet == (60_000, 60_000)


class TestFaults:
    @pytest.mark.parametrize("turn", range(ROUNDS))
    def test_of_every_kind_lose_and_double_nothing(self, farthing: Farthing, seed: int, turn: int) -> None:
        shop = farthing.shop(customers=8, funds="500.00")
        with working(farthing.directory / f"everything{turn}", shop, "mixed", seed=seed + turn, pause=0.02) as clients:
            clients.get_going()
            nemesis.torment(farthing, EVERYTHING, seed=seed + turn)
            clients.kill_one()
        farthing.drain()
        verdict = Checker(farthing, shop, clients.operations()).check()
        logger.warning("%s", verdict)
        assert verdict.is_green, str(verdict)


class TestWithoutPostgres:
    def test_every_answer_is_a_503_that_says_when_to_come_again(self, farthing: Farthing, seed: int) -> None:
        shop = farthing.shop(customers=4, funds="100.00")
        with working(farthing.directory / "down", shop, "mixed", seed=seed, pause=0.02) as clients:
            clients.get_going()
            with nemesis.without_postgres(farthing):
                answers = probes.everywhere(shop, seconds=DOWN_SECONDS)
        farthing.drain()
        verdict = Checker(farthing, shop, clients.operations()).check()
        assert verdict.is_green, str(verdict)
        logger.warning("%s", Counter((path, answer.status) for path, answer in answers))
        for path, answer in answers:
            assert answer.status == 503, (path, answer)
            assert answer.headers["content-type"].startswith("application/json"), (path, answer)
            assert int(answer.headers["retry-after"]) > 0, (path, answer)
            assert set(answer.json()) == {"error", "message", "code", "requestId"}, (path, answer)


class TestHeldCustomer:
    def test_gets_an_answer_and_keeps_nobody_else_waiting(self, farthing: Farthing, seed: int) -> None:
        everybody = farthing.shop(customers=5, funds="100.00")
        [held, *others] = everybody.customers
        shop = dataclasses.replace(everybody, customers=others)
        with working(farthing.directory / "held", shop, "mixed", seed=seed, pause=0.02) as clients:
            clients.get_going()
            with nemesis.holding(farthing, held):
                before = clients.acknowledged()
                answers = probes.everywhere(everybody, seconds=HELD_SECONDS)
                meanwhile = clients.acknowledged() - before
        farthing.drain()
        verdict = Checker(farthing, shop, clients.operations()).check()
        assert verdict.is_green, str(verdict)
        logger.warning("%s; others: %s", Counter((path, answer.status) for path, answer in answers), meanwhile)
        assert meanwhile > 100
        for path, answer in answers:
            if path.count("/") == 3:  # the wallet, which is only read
                assert answer.status == 200, (path, answer)
            else:
                assert (answer.status, answer.headers["retry-after"]) == (503, "1"), (path, answer)
                assert answer.json()["code"] in ("CUSTOMER_BUSY", "BUSY"), (path, answer)


class TestTooMuch:
    def test_is_refused_for_now_and_takes_no_memory(self, farthing: Farthing) -> None:
        """Batches for a customer that is held pile up, until there are enough."""
        shop = farthing.shop(customers=1, funds="100.00")
        web = farthing.processes("web")
        before = memory_bytes(web)
        with nemesis.holding(farthing, shop.customers[0]):
            answers = asyncio.run(probes.batches(shop, requests=60, events=1_000))
            grown = memory_bytes(web) - before
        statuses = Counter(answer.status for answer in answers)
        logger.warning("%s, %.0f MiB more", statuses, grown / 2**20)
        assert set(statuses) == {207, 429}, statuses
        for answer in answers:
            if answer.status == 429:
                assert (answer.json()["code"], answer.headers["retry-after"]) == ("OVERLOADED", "1")
            else:
                assert {each["code"] for each in answer.json()["failed"]} == {"CUSTOMER_BUSY"}
        assert grown < MEMORY_GROWS_MAX

    def test_half_sent_bodies_are_dropped_and_hold_up_nobody(self, farthing: Farthing) -> None:
        shop = farthing.shop(customers=1, funds="100.00")
        web = farthing.processes("web")
        before = memory_bytes(web)
        slow, others, grown = asyncio.run(
            probes.half_sent(shop, requests=400, sent_bytes=100_000, measure=lambda: memory_bytes(web) - before)
        )
        logger.warning("%s, %.0f MiB more", Counter(slow), grown / 2**20)
        assert set(slow) == {408}
        assert {answer.status for answer in others} == {201}
        assert grown < MEMORY_GROWS_MAX
