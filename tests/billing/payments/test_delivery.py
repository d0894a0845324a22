"""Webhooks of the test provider over the network, through the address that every provider uses."""

from typing import Any

import pytest
from django.utils import timezone

from billing import tasks
from billing.models import ProviderEvent, SimulatedDelivery
from billing.payments import attempts, simulation
from tests.billing.payments import paying
from tests.billing.payments.paying import begun, never


@pytest.mark.slow
def test_reach_us_and_end_what_they_are_about(served_url: str, transactional_db: None, settings: Any) -> None:
    settings.PUBLIC_URL = served_url
    wallet = paying.pot()
    attempt = attempts.submit(begun(wallet, "test_processing_success"))
    paying.later(60)
    tasks.run_test_provider()
    assert ProviderEvent.objects.count() == 2
    assert not SimulatedDelivery.objects.exclude(send_at=None).exists()
    assert tasks.hear_of_payments() == 2
    assert attempts.reload(attempt).state == "succeeded"


def test_are_sent_again_while_nobody_takes_them(db: None, settings: Any) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:9"
    wallet = paying.pot()
    attempts.submit(begun(wallet))
    for tries in range(1, simulation.TRIES_MAX + 1):
        assert simulation.run_due(now=timezone.now(), is_time_up=never) == 1
        assert SimulatedDelivery.objects.get().tries == tries
        paying.later()
    assert simulation.run_due(now=timezone.now(), is_time_up=never) == 0
    assert tasks.look_after_payments() == 0
