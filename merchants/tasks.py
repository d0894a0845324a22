"""What merchants are told, when it is woken up to tell them."""

import time

from celery import shared_task
from django.utils import timezone

from merchants import mailing

MAIL_SECONDS_MAX = 20.0


@shared_task
def send_mail() -> int:
    """Send the e-mails that are due; return how many were tried."""
    ends = time.monotonic() + MAIL_SECONDS_MAX
    return mailing.send_due(clock=timezone.now, is_time_up=lambda: time.monotonic() > ends)
