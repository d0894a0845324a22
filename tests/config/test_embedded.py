"""The embedded servers keep what they were given, and say plainly why they cannot start."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
import redis

from config import embedded
from config.embedded import files
from config.processes import CannotStart

ROOT = Path(__file__).resolve().parents[2]
SUPERVISE = """
import sys, time
from pathlib import Path
from config import embedded
from config.embedded import files
with embedded.servers(Path(sys.argv[1]), settings=embedded.NOT_DURABLE):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture
def supervisor(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the directory's servers, so that it can be killed."""
    command = [sys.executable, "-c", SUPERVISE, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def remember(url: str, word: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", [word])


def words(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word")]


def postmaster(directory: Path) -> int:
    return int((directory / "postgres" / "postmaster.pid").read_text().split()[0])


def run_again(directory: Path) -> list[str]:
    with embedded.servers(directory, settings=embedded.NOT_DURABLE) as servers:
        return words(servers.urls.database_owner)


class TestServers:
    def test_keep_data_over_a_stop_and_a_start(self, directory: Path) -> None:
        with embedded.servers(directory, settings=embedded.NOT_DURABLE) as servers:
            remember(servers.urls.database_owner, "stop")
        assert "stop" in run_again(directory)

    def test_keep_data_when_the_supervisor_is_killed(self, directory: Path, supervisor: subprocess.Popen[str]) -> None:
        remember(embedded.urls(directory).database_owner, "killed supervisor")
        supervisor.kill()
        supervisor.wait()
        assert "killed supervisor" in run_again(directory)

    def test_keep_data_when_all_are_killed(self, directory: Path, supervisor: subprocess.Popen[str]) -> None:
        remember(embedded.urls(directory).database_owner, "killed all")
        os.kill(postmaster(directory), signal.SIGKILL)
        supervisor.kill()
        supervisor.wait()
        assert "killed all" in run_again(directory)

    def test_restart_one_server_that_was_killed(self, directory: Path) -> None:
        with embedded.servers(directory, settings=embedded.NOT_DURABLE) as servers:
            remember(servers.urls.database_owner, "killed postgres")
            for server in servers.all:
                assert server.process.pid
                os.kill(server.process.pid, signal.SIGKILL)
                server.process.stop()
                server.start()
            assert "killed postgres" in words(servers.urls.database_owner)
            assert redis.Redis.from_url(servers.urls.redis).ping()

    def test_are_durable_unless_told_otherwise(self, directory: Path) -> None:
        with embedded.servers(directory, redis=False) as servers, psycopg.connect(servers.urls.database) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
                assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)

    def test_live_in_a_directory_with_a_long_name(self, tmp_path: Path) -> None:
        deep = tmp_path / ("deep" * 25)
        with embedded.servers(deep, postgres=False) as servers:
            assert redis.Redis.from_url(servers.urls.redis).ping()

    def test_let_no_other_account_near_their_sockets(self, directory: Path) -> None:
        run_again(directory)
        assert (directory / "run").stat().st_mode & 0o777 == 0o700
        assert (directory / "postgres").stat().st_mode & 0o777 == 0o700


class TestRoles:
    def test_the_app_writes_rows_but_makes_no_tables(self, directory: Path) -> None:
        with embedded.servers(directory, settings=embedded.NOT_DURABLE) as servers:
            remember(servers.urls.database_owner, "owner")
            with psycopg.connect(servers.urls.database) as connection:
                connection.execute("UPDATE words SET word = word")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("CREATE TABLE mine ()")

    def test_hold_in_a_database_made_later(self, directory: Path) -> None:
        with embedded.servers(directory, settings=embedded.NOT_DURABLE) as servers:
            with psycopg.connect(servers.urls.database_owner, autocommit=True) as connection:
                connection.execute("CREATE DATABASE later")
            later = servers.urls.database_owner.replace("/farthing?", "/later?")
            remember(later, "later")
            assert words(later.replace("farthing_owner", "farthing_app")) == ["later"]


class TestCannotStart:
    def refusal(self, directory: Path) -> str:
        with pytest.raises(CannotStart) as caught, embedded.servers(directory):
            pass
        message = str(caught.value)
        assert "\n" not in message
        return message

    def test_names_the_process_that_already_runs_there(
        self, directory: Path, supervisor: subprocess.Popen[str]
    ) -> None:
        assert f"already runs on {directory} (process {supervisor.pid})" in self.refusal(directory)

    def test_names_both_versions_of_an_old_data_directory(self, tmp_path: Path) -> None:
        (tmp_path / "postgres").mkdir()
        (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
        message = self.refusal(tmp_path)
        assert "made by PostgreSQL 16, this is PostgreSQL 18" in message

    def test_leaves_a_directory_alone_that_is_no_data_directory(self, tmp_path: Path) -> None:
        (tmp_path / "postgres").mkdir()
        (tmp_path / "postgres" / "diary.txt").write_text("dear diary")
        assert "holds no PostgreSQL data" in self.refusal(tmp_path)
        assert (tmp_path / "postgres" / "diary.txt").exists()

    def test_says_that_the_disk_is_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedded.shutil, "disk_usage", lambda path: SimpleNamespace(free=5 << 20))
        assert "is full: 5 MiB are free, 512 are needed" in self.refusal(tmp_path)

    def test_says_that_the_disk_became_full_on_the_way(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **kwargs: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(files, "make_directory", refuse)
        assert f"The disk of {tmp_path} is full" in self.refusal(tmp_path)

    def test_says_that_the_directory_is_read_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **kwargs: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / "lock"))

        monkeypatch.setattr(files, "make_directory", refuse)
        assert f"may not write to {tmp_path / 'lock'} (Read-only file system)" in self.refusal(tmp_path)

    def test_does_not_blame_the_start_for_what_happens_later(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError), embedded.servers(tmp_path, postgres=False):
            (tmp_path / "nothing").read_text()
