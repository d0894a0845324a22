"""Death of every process under load: nothing acknowledged is lost, nothing happens twice, the books are right."""

import logging
from contextlib import ExitStack

from tests.faults import nemesis
from tests.faults.checker import Checker
from tests.faults.clients import working
from tests.faults.farthing import Farthing
from tests.faults.forgeries import FORGERIES, forged

logger = logging.getLogger(__name__)

DEATHS = (nemesis.kill_web, nemesis.kill_worker, nemesis.kill_beat, nemesis.kill_redis, nemesis.kill_postgres)


class TestKilling:
    def test_any_process_loses_and_doubles_nothing(self, farthing: Farthing, seed: int) -> None:
        shop = farthing.shop(customers=6, funds="500.00")
        with working(farthing.directory / "deaths", shop, "mixed", seed=seed, pause=0.02) as clients:
            clients.get_going()
            nemesis.torment(farthing, DEATHS, seed=seed)
            clients.kill_one()
        farthing.drain()
        verdict = Checker(farthing, shop, clients.operations()).check()
        assert verdict.is_green, str(verdict)
        logger.warning("%s", verdict)


class TestAskingTheServerToStop:
    def test_cuts_off_nothing_that_it_has_accepted(self, farthing: Farthing, seed: int) -> None:
        shop = farthing.shop(customers=4, funds="500.00")
        with working(farthing.directory / "stop", shop, "mixed", seed=seed, tasks=12, insist=False) as clients:
            clients.get_going()
            nemesis.torment(farthing, [nemesis.stop_web], seed=seed)
        farthing.drain()
        checker = Checker(farthing, shop, clients.operations())
        verdict = checker.check(verify=False)
        assert verdict.is_green, str(verdict)
        assert verdict.retried > 0  # or the server was not gone for a moment
        assert checker.cut_off() == []


class TestTheChecker:
    """It must find what it is there to find, or its silence proves nothing."""

    def test_sees_what_is_lost_when_commits_do_not_wait_for_the_disk(self, farthing: Farthing, seed: int) -> None:
        shop = farthing.shop(customers=4, funds="500.00")
        farthing.ask("ALTER SYSTEM SET synchronous_commit = off")
        farthing.ask("ALTER SYSTEM SET wal_writer_delay = '10s'")
        farthing.ask("SELECT pg_reload_conf()")
        try:
            with working(farthing.directory / "not-durable", shop, "mixed", seed=seed) as clients:
                clients.get_going()
                nemesis.torment(farthing, [nemesis.kill_postgres], seed=seed)
        finally:
            farthing.ask("ALTER SYSTEM RESET ALL")
            farthing.ask("SELECT pg_reload_conf()")
        farthing.drain()
        verdict = Checker(farthing, shop, clients.operations()).check(verify=False)
        assert verdict.count("acknowledged and lost"), str(verdict)
        logger.warning("%s", verdict)

    def test_sees_what_was_changed_behind_the_product(self, farthing: Farthing, seed: int) -> None:
        shop = farthing.shop(customers=len(FORGERIES), funds="10.00")
        with working(farthing.directory / "forged", shop, "mixed", seed=seed, processes=1) as clients:
            clients.get_going(operations=50)
        farthing.drain()
        operations = list(clients.operations())
        with ExitStack() as stack:
            for forgery, customer in zip(FORGERIES, shop.customers, strict=True):
                stack.enter_context(forged(farthing, forgery, customer))
            broken = "".join(farthing.verify())
        for forgery, customer in zip(FORGERIES, shop.customers, strict=True):
            mine = [each for each in operations if each.customer_id == customer.id and each.good]
            names = [customer.wallet_id, *(each.good[0].json()["id"] for each in mine)]
            assert any(name in broken for name in names), (forgery, broken)
        assert Checker(farthing, shop, operations).check().is_green
