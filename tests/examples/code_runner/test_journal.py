"""The journal: what it remembers, what it allows, and what it makes of a crash."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.code_runner import journal
from examples.code_runner.journal import Journal, Submission

BODY = {"customerId": "cus_alice", "maxUses": 1}
USAGE = {"idempotencyKey": "x", "final": True}


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite3")
    yield opened
    opened.close()


def begin(book: Journal, *, key: str | None = None, customer: str = "cus_alice") -> Submission:
    submission, new = book.open(
        customer_id=customer, client_key=key, fingerprint="f", tier="basic", reservation_body=BODY
    )
    assert new
    return submission


def found(book: Journal, id: str) -> Submission:
    submission = book.get(id)
    assert submission
    return submission


class TestOpen:
    def test_begins_with_what_will_be_sent(self, book: Journal) -> None:
        submission = begin(book)
        assert (submission.state, submission.reservation_body, submission.usage_body) == ("reserving", BODY, None)

    def test_finds_the_submission_of_a_client_key(self, book: Journal) -> None:
        first = begin(book, key="k")
        second, new = book.open(
            customer_id="cus_alice", client_key="k", fingerprint="g", tier="basic", reservation_body=BODY
        )
        assert (second, new) == (first, False)

    def test_keeps_the_keys_of_customers_apart(self, book: Journal) -> None:
        assert begin(book, key="k").id != begin(book, key="k", customer="cus_bob").id

    def test_begins_anew_without_a_key(self, book: Journal) -> None:
        assert begin(book).id != begin(book).id


class TestMoves:
    def test_lead_from_reserving_to_reported(self, book: Journal) -> None:
        id = begin(book).id
        book.reserved(id, reservation_id="com_1")
        book.measured(id, result={"status": "completed"}, usage_body=USAGE)
        assert (found(book, id).usage_body, book.owed()) == (USAGE, 1)
        book.reported(id, usage_event_id="usg_1", charged_nanos=10**30)
        assert (found(book, id).charged_nanos, book.owed()) == (10**30, 0)

    def test_lead_from_reserving_to_released(self, book: Journal) -> None:
        id = begin(book).id
        book.abandoned(id, problem="nothing heard")
        assert book.owed() == 1
        book.released(id)
        assert book.owed() == 0

    def test_leave_measured_usage_only_by_reporting_it(self, book: Journal) -> None:
        id = begin(book).id
        book.reserved(id, reservation_id="com_1")
        book.measured(id, result={}, usage_body=USAGE)
        with pytest.raises(RuntimeError):
            book.abandoned(id, problem="never")
        book.refused(id)
        assert found(book, id).state == "measured"

    def test_give_the_client_key_back_when_nothing_is_charged(self, book: Journal) -> None:
        book.abandoned(begin(book, key="k").id, problem="not run")
        book.refused(begin(book, key="k").id)
        assert begin(book, key="k").state == "reserving"


class TestRecover:
    def test_abandons_what_was_under_way(self, book: Journal) -> None:
        first, second = begin(book, key="a").id, begin(book).id
        book.reserved(second, reservation_id="com_2")
        assert book.recover() == 2
        assert {found(book, id).state for id in (first, second)} == {"abandoned"}
        assert found(book, second).reservation_id == "com_2"

    def test_keeps_what_was_measured(self, book: Journal, tmp_path: Path) -> None:
        id = begin(book).id
        book.reserved(id, reservation_id="com_1")
        book.measured(id, result={}, usage_body=USAGE)
        again = Journal(tmp_path / "journal.sqlite3")
        assert (again.recover(), found(again, id).usage_body) == (1, USAGE)
        again.close()

    def test_tries_again_what_was_given_up(self, book: Journal) -> None:
        id = begin(book).id
        book.abandoned(id, problem="x")
        for _ in range(journal.SETTLE_ATTEMPTS_MAX):
            book.postpone(id, now=0.0, problem="down")
        assert (book.stuck(), book.due(now=1e12, limit=10)) == (1, [])
        book.recover()
        assert (book.stuck(), book.due(now=1.0, limit=10)) == (0, [id])


class TestPostpone:
    def test_waits_longer_each_time_up_to_a_limit(self, book: Journal) -> None:
        id = begin(book).id
        book.abandoned(id, problem="x")
        waits = []
        for _ in range(25):
            book.postpone(id, now=1000.0, problem="down")
            waits.append(found(book, id).due_at - 1000.0)
        assert waits[:4] == [1, 2, 4, 8]
        assert waits[-1] == journal.SETTLE_PAUSE_SECONDS_MAX

    def test_hides_it_until_then(self, book: Journal) -> None:
        id = begin(book).id
        book.abandoned(id, problem="x")
        book.postpone(id, now=1000.0, problem="down")
        assert (book.due(now=1000.5, limit=10), book.due(now=1001.0, limit=10)) == ([], [id])
