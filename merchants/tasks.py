"""What merchants and their customers are told, when it is woken up to tell them."""

import threading
import time
from collections.abc import Callable
from typing import Any

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown
from django.conf import settings
from django.utils import timezone

from merchants import mailing
from merchants.webhooks.sending import Sender

SECONDS_MAX = 20.0

_sender = Sender(settings.WEBHOOKS_AT_ONCE)
_mailing = threading.Lock()


def _time_up() -> Callable[[], bool]:
    ends = time.monotonic() + SECONDS_MAX
    return lambda: time.monotonic() > ends


@shared_task
def send_webhooks() -> int:
    """List events and deliver what is due; return how much there was to do."""
    return _sender.run(clock=timezone.now, is_time_up=_time_up())


@worker_process_shutdown.connect
@worker_shutdown.connect
def finish_webhooks(**kwargs: Any) -> None:
    """Wait for the calls under way, so that what was delivered is not delivered again."""
    _sender.finish(clock=timezone.now)


@shared_task
def send_mail() -> int:
    """Send the e-mails that are due; return how many were tried. A mail server that hangs keeps one thread at most."""
    if not _mailing.acquire(blocking=False):
        return 0
    try:
        return mailing.send_due(clock=timezone.now, is_time_up=_time_up())
    finally:
        _mailing.release()
