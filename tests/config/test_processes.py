"""How long stopping takes: each wait ends before the one around it."""

import re
from pathlib import Path

from config import processes, server
from config.processes import LANE_STOP_SECONDS_MAX, REQUESTS_STOP_SECONDS_MAX, STOP_SECONDS_MAX, Process

LEAVING_SECONDS = 3  # to close connections and end threads, once everything is answered
COMPOSE = Path(processes.__file__).parents[1] / "docker-compose.yml"


def test_the_web_server_is_done_before_it_is_killed() -> None:
    assert server.configuration("127.0.0.1", 8000, 1).timeout_graceful_shutdown == REQUESTS_STOP_SECONDS_MAX
    assert REQUESTS_STOP_SECONDS_MAX + LANE_STOP_SECONDS_MAX + LEAVING_SECONDS <= STOP_SECONDS_MAX
    assert Process("web", [], Path(), {}, Path()).stop_seconds_max == STOP_SECONDS_MAX


def test_containers_give_every_process_its_time() -> None:
    periods = [int(seconds) for seconds in re.findall(r"stop_grace_period: (\d+)s", COMPOSE.read_text())]
    assert periods
    assert min(periods) > STOP_SECONDS_MAX
