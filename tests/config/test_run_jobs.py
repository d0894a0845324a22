"""manage.py run_jobs: everything the worker does, without Celery."""

import os
import signal
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from billing.models import Invoice, Settlement
from config.celery import BEAT, QUEUES, app
from config.management.commands import run_jobs
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer


def subscribed(**options) -> Buyer:
    metric = factories.metric(product=factories.product(merchant=factories.merchant()))
    return buyers.buyer(factories.price(metric=metric, unit_price="0.5"), **options)


@pytest.fixture
def until_each_has_run(monkeypatch):
    """Tell this process to stop once each job has been begun, however long that takes: then it listens, too."""
    left, run = set(BEAT), run_jobs._run_task

    def watched(name: str) -> int:
        left.discard(name)
        if not left:
            os.kill(os.getpid(), signal.SIGTERM)
        return run(name)

    monkeypatch.setattr(run_jobs, "_run_task", watched)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
        signal.signal(number, handler)


@pytest.mark.django_db(transaction=True)
class TestRunJobs:
    def test_does_everything_that_is_due(self, capsys):
        buyer = subscribed(at=timezone.now() - timedelta(days=100))
        buyer.use(buyer.subscription.plan_version.prices.get(), 3)
        buyer.set_clock(None)
        call_command("run_jobs", "--once")
        assert buyer.prepaid.settled_seq == 1
        assert Invoice.objects.filter(number__isnull=False).count() == 3
        assert "settle: " in capsys.readouterr().out

    def test_finds_nothing_the_second_time(self, capsys):
        subscribed(at=timezone.now() - timedelta(days=100)).set_clock(None)
        call_command("run_jobs", "--once")
        capsys.readouterr()
        call_command("run_jobs", "--once")
        assert capsys.readouterr().out.strip() == ", ".join([f"{name}: 0" for name in BEAT])

    def test_goes_on_until_its_time_is_up(self):
        buyer = subscribed(at=timezone.now())
        buyer.use(buyer.subscription.plan_version.prices.get(), 3)
        call_command("run_jobs", "--for", "0.5")
        assert Settlement.objects.count() == 1

    @pytest.mark.usefixtures("until_each_has_run")
    def test_stops_when_told_to(self):
        call_command("run_jobs")

    @pytest.mark.usefixtures("until_each_has_run")
    def test_keeps_the_others_going_when_one_fails(self, monkeypatch):
        buyer = subscribed(at=timezone.now())
        buyer.use(buyer.subscription.plan_version.prices.get(), 3)
        failed: list[str] = []
        monkeypatch.setattr(run_jobs.logger, "exception", lambda message, name: failed.append(name))
        monkeypatch.setattr("billing.invoicing.bill_due", lambda **options: 1 // 0)
        call_command("run_jobs")
        assert set(failed) == {"bill"}
        assert Settlement.objects.count() == 1


class TestBeat:
    def test_wakes_only_tasks_that_exist_on_queues_that_are_served(self):
        app.loader.import_default_modules()
        for entry in BEAT.values():
            assert entry["task"] in app.tasks
            assert entry["options"]["queue"] in QUEUES
