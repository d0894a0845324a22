import re
from pathlib import Path

import kombu
import pytest
import redis
from celery import shared_task
from django.conf import settings

from config import celery

ROOT = Path(__file__).resolve().parents[2]


class TestBrokerUrl:
    @pytest.mark.parametrize(
        ("redis_url", "expected"),
        [
            ("redis://:pw@localhost:6379/2", "redis://:pw@localhost:6379/2"),
            ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
        ],
    )
    def test_is_celerys_spelling(self, redis_url: str, expected: str):
        assert celery.broker_url(redis_url) == expected

    def test_leads_to_the_same_database_of_redis(self):
        with kombu.Connection(celery.broker_url(settings.REDIS_URL)) as connection:
            connection.SimpleQueue("test_broker_url").put({})
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            assert client.llen("test_broker_url") == 1


class TestApp:
    def test_owns_shared_tasks(self):
        @shared_task
        def probe() -> None: ...

        assert probe.app is celery.app

    def test_publishing_fails_at_once_without_redis(self):
        nowhere = celery.app.connection_for_write("redis+socket:///nowhere/redis.sock")
        with nowhere, pytest.raises(kombu.exceptions.OperationalError):
            celery.app.send_task("nothing", connection=nowhere)

    def test_wakes_only_what_is_known_on_a_queue_that_is_served(self):
        celery.app.loader.import_default_modules()
        for entry in celery.BEAT.values():
            assert entry["task"] in celery.app.tasks
            assert entry["options"]["queue"] in celery.QUEUES

    @pytest.mark.parametrize("where", ["config/runner.py", "docker-compose.yml"])
    def test_every_queue_has_a_worker(self, where: str):
        served = re.findall(r"--queues=([a-z,]+)", (ROOT / where).read_text())
        assert sorted(",".join(served).split(",")) == sorted(celery.QUEUES)
