"""What the checker says of tables that are not as clients were told; its other controls need a whole Farthing."""

import json
import uuid
from typing import Any, cast

import pytest

from merchants import ids
from tests.faults import checker
from tests.faults.checker import Checker
from tests.faults.farthing import Farthing
from tests.faults.journal import Operation, Try
from tests.faults.shop import Customer, Shop

RESERVATION = uuid.UUID(int=0x0193_0000_0000_7000_8000_0000_0000_0007)
CUSTOMER = Customer(ids.text("cus", RESERVATION), "acc_1")
NAME = ids.text("com", RESERVATION)
ANSWER = {"id": NAME, "status": "released", "capturedAmount": "3", "releasedAmount": "7"}


class Tables:
    """A Farthing of which only one question has an answer."""

    def __init__(self, question: str, *rows: tuple[Any, ...]) -> None:
        self.question = question
        self.rows = list(rows)

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.rows if statement == self.question else []


def check(*closed: tuple[Any, ...], tries: list[Try]) -> dict[str, list[str]]:
    """Let a client have released a reservation, and compare with what the table says of it."""
    shop = Shop(1, "", "", "", customers=[CUSTOMER])
    operations = [Operation("release", CUSTOMER.id, [NAME], "", {}, tries)] if tries else []
    return Checker(cast(Farthing, Tables(checker._CLOSED, *closed)), shop, operations).check(verify=False).faults


class TestReleases:
    @pytest.mark.parametrize("state", ["released", "captured", "expired"])
    def test_that_ended_as_they_were_answered_are_right(self, state: str) -> None:
        answer = Try(200, json.dumps({**ANSWER, "status": state}))
        assert check((RESERVATION, state, 3, 7), tries=[Try(None, "lost"), answer]) == {}

    def test_that_were_answered_and_are_still_open_are_lost(self) -> None:
        assert check(tries=[Try(200, json.dumps(ANSWER))]).keys() == {"acknowledged and lost"}

    @pytest.mark.parametrize("facts", [("released", 3, 6), ("released", 4, 7), ("expired", 3, 7)])
    def test_that_gave_back_something_else_are_found(self, facts: tuple[Any, ...]) -> None:
        found = check((RESERVATION, *facts), tries=[Try(200, json.dumps(ANSWER))])
        assert found.keys() == {"effects other than what was answered"}

    def test_that_were_answered_differently_are_found(self) -> None:
        tries = [Try(200, json.dumps(ANSWER)), Try(200, json.dumps({**ANSWER, "createdAt": "later"}))]
        assert check((RESERVATION, "released", 3, 7), tries=tries).keys() == {"keys with several answers"}

    def test_that_nobody_asked_for_are_found(self) -> None:
        assert check((RESERVATION, "released", 3, 7), tries=[]).keys() == {
            "effects that nobody asked for, or that were refused"
        }


class TestTopUps:
    def check(self, status: str, *told: dict[str, Any]) -> set[str]:
        """Let a client have been told this of a top-up of a dollar, and compare with how it ended."""
        answer = {"id": ids.text("top", RESERVATION), "status": "success", "amount": "1.00"}
        tries = [Try(201, json.dumps({**answer, **each})) for each in told]
        operations = [Operation("topup", CUSTOMER.id, ["key"], "", {}, tries)]
        tables = Tables(checker._TOP_UPS, ("key", RESERVATION, status, 10**9))
        shop = Shop(1, "", "", "", customers=[CUSTOMER])
        return set(Checker(cast(Farthing, tables), shop, operations).check(verify=False).faults)

    @pytest.mark.parametrize("status", ["pending", "success", "failed"])
    def test_that_were_pending_may_have_ended_since(self, status: str) -> None:
        assert self.check(status, {"status": "pending"}) == set()
        assert self.check(status, {"status": "pending"}, {"status": status}) == set()

    def test_that_were_told_to_have_ended_another_way_are_found(self) -> None:
        wrong = {"effects other than what was answered"}
        assert self.check("failed", {}) == wrong
        assert self.check("pending", {}) == wrong
        assert self.check("failed", {"status": "pending"}, {"status": "success"}) == wrong

    def test_that_were_told_of_another_amount_are_found(self) -> None:
        assert "effects other than what was answered" in self.check("success", {"status": "pending", "amount": "2.00"})

    def test_that_were_answered_differently_are_found(self) -> None:
        assert "keys with several answers" in self.check("success", {}, {"createdAt": "later"})
        assert "keys with several answers" in self.check("success", {"status": "pending"}, {"createdAt": "later"})
