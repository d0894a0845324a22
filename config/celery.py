"""Celery executes; PostgreSQL remembers.

Every task drains work that is recorded in PostgreSQL, so a message lost, doubled or late changes nothing but
latency, and no task carries data. Beat wakes the drains; a door may wake one earlier, after its commit.
"""

import os
from logging.config import dictConfig
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings

#: What goes out to other people's servers has workers of its own: whoever hangs there keeps no money waiting.
OUTDOORS = ("webhooks", "mail", "payments")
QUEUES = ("settlement", "invoicing", "documents", "sweeps", *OUTDOORS)

TASK_SECONDS_MAX = 60
PUBLISH_SECONDS_MAX = 1.0


def wake(task: str, *, every_seconds: float, queue: str) -> dict[str, Any]:
    """Describe a wake-up; one that nobody took before the next is due is dropped."""
    return {"task": task, "schedule": every_seconds, "options": {"queue": queue, "expires": every_seconds}}


#: Wake-ups only: what is due is decided by the drain, from the database. ``manage.py run_jobs`` reads the same list.
BEAT: dict[str, dict[str, Any]] = {
    "settle": wake("billing.tasks.settle", every_seconds=1.0, queue="settlement"),
    "free reservations": wake("charging.tasks.free_reservations", every_seconds=5.0, queue="sweeps"),
    "end checkouts": wake("billing.tasks.end_checkouts", every_seconds=5.0, queue="invoicing"),
    "end subscriptions": wake("billing.tasks.end_subscriptions", every_seconds=5.0, queue="invoicing"),
    "tell of crossings": wake("charging.tasks.tell_of_crossings", every_seconds=10.0, queue="sweeps"),
    "drop refusals": wake("charging.tasks.drop_refusals", every_seconds=600.0, queue="sweeps"),
    "rate": wake("billing.tasks.rate", every_seconds=60.0, queue="invoicing"),
    "watch wallets": wake("billing.tasks.watch_wallets", every_seconds=30.0, queue="sweeps"),
    "heed low wallets": wake("billing.tasks.heed_low_wallets", every_seconds=2.0, queue="payments"),
    "pay out": wake("billing.tasks.pay_out", every_seconds=5.0, queue="sweeps"),
    "expire credit": wake("billing.tasks.expire_credit", every_seconds=5.0, queue="sweeps"),
    "roll out": wake("billing.tasks.carry_on_rollouts", every_seconds=5.0, queue="sweeps"),
    "bill": wake("billing.tasks.bill", every_seconds=2.0, queue="invoicing"),
    "remind of renewals": wake("billing.tasks.remind_of_renewals", every_seconds=300.0, queue="invoicing"),
    "send webhooks": wake("merchants.tasks.send_webhooks", every_seconds=1.0, queue="webhooks"),
    "send mail": wake("merchants.tasks.send_mail", every_seconds=5.0, queue="mail"),
    "assess taxes": wake("billing.tasks.assess_taxes", every_seconds=60.0, queue="invoicing"),
    "make documents": wake("billing.tasks.make_documents", every_seconds=2.0, queue="documents"),
    "issue drafts": wake("billing.tasks.issue_drafts", every_seconds=60.0, queue="invoicing"),
    "collect": wake("billing.tasks.collect", every_seconds=30.0, queue="payments"),
    # A provider that hangs keeps only this queue waiting.
    "hear of payments": wake("billing.tasks.hear_of_payments", every_seconds=2.0, queue="payments"),
    "look after payments": wake("billing.tasks.look_after_payments", every_seconds=5.0, queue="payments"),
    "test provider": wake("billing.tasks.run_test_provider", every_seconds=2.0, queue="payments"),
}


def broker_url(redis_url: str) -> str:
    """Write a Redis URL the way Celery's transport reads it; only unix sockets differ."""
    return redis_url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)


app = Celery("farthing")
app.conf.update(
    broker_url=broker_url(settings.REDIS_URL),
    broker_connection_retry_on_startup=True,
    # A publisher gives up at once: the request that publishes must not wait, and beat finds the work anyway.
    broker_pool_acquire_timeout=PUBLISH_SECONDS_MAX,
    task_publish_retry=False,
    task_publish_retry_policy={"max_retries": 0},
    broker_transport_options={
        "visibility_timeout": 2 * TASK_SECONDS_MAX,  # longer than any task, or tasks run twice at once
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 2,
        "socket_connect_timeout": PUBLISH_SECONDS_MAX,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "max_retries": 0,
    },
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=True,
    # The database retries, not the broker: a task that kills its worker must not come back for ever.
    task_reject_on_worker_lost=False,
    task_retry_on_worker_lost=False,
    task_time_limit=TASK_SECONDS_MAX,
    task_soft_time_limit=TASK_SECONDS_MAX * 3 // 4,
    task_create_missing_queues=True,
    task_default_queue="sweeps",
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=1_000,
    worker_soft_shutdown_timeout=20,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    worker_send_task_events=False,
    timezone="UTC",
    beat_schedule=BEAT,
    beat_scheduler="celery.beat:Scheduler",  # in memory: there is nothing to remember, and no file to corrupt
)
app.set_default()
app.autodiscover_tasks()


@setup_logging.connect  # type: ignore[untyped-decorator]
def log_as_django_does(**kwargs: object) -> None:
    """Keep Celery from replacing the log format."""
    dictConfig(settings.LOGGING)
