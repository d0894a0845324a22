"""manage.py verify: green over everything the product does, red for every single thing that is put wrong.

One world is made once; each control puts one thing wrong in a transaction of the superuser's, looks, and rolls back.
"""

import json
import re
from collections.abc import Iterable, Iterator

import pytest
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext

from charging import execution
from config.management.commands.verify import CHECKS
from merchants import verification
from merchants.models import Event
from merchants.verification import Check
from merchants.webhooks import catalogue
from tests.billing import worlds
from tests.billing.vandalism import CONTROLS
from tests.merchants.webhooks.test_verification import CONTROLS as OF_WEBHOOKS

pytestmark = pytest.mark.django_db

LATE = {check.name for check in CHECKS if check.may_lag}


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker) -> Iterator[worlds.World]:
    with django_db_blocker.unblock():
        superuser = as_superuser()
        superuser.cursor().execute("VACUUM")  # so that what is written first also lies first
        superuser.close()
        try:
            yield worlds.world()
        finally:
            execution.hang_up()
            TransactionTestCase._fixture_teardown(None)  # type: ignore[arg-type]


def as_superuser() -> BaseDatabaseWrapper:
    connection = connections.create_connection("default")
    connection.settings_dict = {**connection.settings_dict, "USER": "postgres"}
    return connection


@pytest.fixture
def vandal(world, monkeypatch) -> Iterator[BaseDatabaseWrapper]:
    """A superuser's connection, with every guard switched off, that the checks look through."""
    connection = as_superuser()
    connection.set_autocommit(False)
    connection.cursor().execute("SET session_replication_role = replica")
    monkeypatch.setattr(verification, "connection", connection)
    yield connection
    connection.rollback()
    connection.close()


def red(checks: Iterable[Check] = CHECKS) -> set[str]:
    return {check.name for check in checks if check.find().count and not check.may_lag}


@pytest.fixture(scope="module")
def asked(world) -> dict[str, str]:
    """What each check asks of the database, in which all of them find nothing wrong."""
    connection, found = verification.connection, {}
    with transaction.atomic():
        for check in CHECKS:
            with CaptureQueriesContext(connection) as queries:
                check.find()
            found[check.name] = " ".join(query["sql"] for query in queries)
    return found


_CHANGED = re.compile(r"\b(?:UPDATE|DELETE FROM|INSERT INTO)\s+(\w+)")


def affected(statement: str, asked: dict[str, str]) -> list[Check]:
    """The checks that may tell the difference: those that ask for a table that a statement changes.

    No trigger and no cascade is carried out, so it changes no other.
    """
    if not re.match(r"\s*(WITH|UPDATE|DELETE|INSERT)\b", statement):
        return list(CHECKS)
    tables = re.compile("|".join(rf"\b{table}\b" for table in _CHANGED.findall(statement)))
    return [check for check in CHECKS if tables.search(asked[check.name])]


class TestVerify:
    def test_finds_nothing_wrong_with_what_the_product_did(self, vandal):
        found = {check.name: check.find() for check in CHECKS if not check.may_lag}
        assert {name: each.culprits for name, each in found.items() if each.count} == {}

    def test_has_a_name_for_every_check(self):
        assert len({check.name for check in CHECKS}) == len(CHECKS)

    def test_is_controlled_for_every_check(self):
        controlled = set().union(*[expected for _, expected in (*CONTROLS.values(), *OF_WEBHOOKS.values())])
        assert {check.name for check in CHECKS} - controlled - LATE == {"audit_chain"}


@pytest.mark.parametrize("name", CONTROLS)
def test_notices(name, vandal, asked):
    statement, expected = CONTROLS[name]
    with vandal.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcount in (1, -1), "nothing was put wrong"
    assert red(affected(statement, asked)) == expected


def test_notices_a_broken_audit_log(vandal, monkeypatch):
    monkeypatch.setattr(verification.audit, "first_break", lambda *, merchant_id: 3)
    assert red() == {"audit_chain"}


def test_everything_is_told_as_the_catalogue_shows_it(world):
    told = list(Event.objects.all())
    for event in told:
        data = json.loads(event.body)["data"]
        shapes = [(example["object"], sorted(example)) for example in catalogue.named(event.type).examples]
        assert (data["object"], sorted(data)) in shapes, event.type
    assert len({event.type for event in told}) >= 17
