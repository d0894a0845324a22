"""What is read to open a book: all that is needed, and nothing that grows with what is not."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from charging import budgets as charging_budgets
from charging import commands, execution, reading, rereading, store
from charging.arrays import Array, Smallints, Texts, Times, Uuids
from charging.channel import Statement
from charging.outcomes import Done, Refused
from customers.models import Book
from entitlements import budgets
from entitlements.models import Budget, Reservation
from merchants import ids
from tests.charging.sellers import Seller, seller

pytestmark = pytest.mark.django_db(transaction=True)

MILL = 1_000_000  # nanos; the price of a unit
MANY = 300
KINDS: dict[type[Array], str] = {Smallints: "smallint[]", Uuids: "uuid[]", Texts: "text[]", Times: "timestamptz[]"}


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


def plan(statement: Statement, *parameters: str) -> dict[str, Any]:
    """Carry out a statement as the lane would, and return how PostgreSQL went about it."""
    kinds = ", ".join(f"{name}[]" for name in ("smallint", "uuid", "text")[: len(parameters)])
    values = ", ".join(f"'{{{value}}}'" for value in parameters)
    with psycopg.connect(execution.database_url(), autocommit=True) as connection:
        connection.execute(store.SESSION)
        connection.execute(f"PREPARE asked ({kinds}) AS {statement.sql.decode()}")
        row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({values})").fetchone()
    assert row is not None
    found: dict[str, Any] = row[0][0]["Plan"]
    return found


# What a question of the lane may look up, however little PostgreSQL knows of the tables (ADR 0010). Whose wallets or
# whose wallet is one question: both indexes answer it with a handful of rows.
BOOKS = {"customers_book_pkey"}
RESERVATION_BY_ID, WALLET_BY_ID = {"entitlements_reservation_pkey"}, {"billing_wallet_pkey"}
WALLET_BY_ID_AND_CUSTOMER = WALLET_BY_ID | {"one_wallet_per_pot"}
EVENT_BY_ID, CHARGES_BY_SOURCE, COUNTERS = (
    {"metering_usageevent_pkey"},
    {"billing_charge_pkey"},
    {"billing_counter_pkey"},
)
FITTING: dict[str, dict[str, set[str]]] = {
    "_BOOKS": {
        "customers_book": BOOKS,
        "merchants_merchant": {"merchants_merchant_pkey"},
        "entitlements_reservation": {"reservation_open"},
        "entitlements_entitlement": {"entitled_once_per_feature"},
        "entitlements_feature": {"entitlements_feature_pkey"},
        "billing_subscription": {"one_live_subscription_per_product"},
        "billing_wallet": WALLET_BY_ID,
    },
    "COUNTERS": {"billing_counter": COUNTERS},
    "_CURRENT_COUNTERS": {"customers_book": BOOKS, "billing_counter": COUNTERS},
    "_NAMED": {"entitlements_reservation": RESERVATION_BY_ID, "billing_wallet": WALLET_BY_ID_AND_CUSTOMER},
    "_RESERVED": {
        "entitlements_reservation": {"reservation_once_per_key"},
        "billing_wallet": WALLET_BY_ID_AND_CUSTOMER,
    },
    "_SEEN": {"metering_usageevent": {"usage_event_once_per_key"}},
    "_SUMS": {"billing_charge": CHARGES_BY_SOURCE, "billing_wallet": WALLET_BY_ID_AND_CUSTOMER},
    "RECORDED": {
        "metering_usageevent": EVENT_BY_ID,
        "billing_refund": {"usage_event_refunded_once"},
        "metering_correction": {"correction_numbered_once"},
    },
    "CHARGES": {"billing_charge": CHARGES_BY_SOURCE},
    "_ENDED": {"metering_usageevent": EVENT_BY_ID, "billing_subscription": {"billing_subscription_pkey"}},
    "WALLETS": {"billing_wallet": {"one_wallet_per_pot"}},
    "_CORRECTED": {
        "metering_correction": {"correction_once_per_key"},
        "metering_usageevent": EVENT_BY_ID,
        "billing_charge": CHARGES_BY_SOURCE,
    },
    "_OWED": {
        "metering_correction": {"correction_numbered_once"},
        "billing_charge": CHARGES_BY_SOURCE,
        "billing_wallet": WALLET_BY_ID_AND_CUSTOMER,
        "billing_priceversion": {"billing_priceversion_pkey"},
    },
    "_USES": {
        # Three fit: it names the merchant and the customer. Only corrections of prices that are counted again ask it.
        "metering_usageevent": EVENT_BY_ID
        | {"usage_event_by_customer", "usage_event_by_merchant", "usage_event_once_per_key"},
        # As do two of its amendments.
        "metering_correction": {"correction_numbered_once", "amendment_by_time", "amendment_by_merchant"},
        "billing_charge": CHARGES_BY_SOURCE,
    },
    "_MOVEMENTS": {"entitlements_movement": {"movement_by_source"}},
    "_RETIRED": {
        "entitlements_movement": {"movement_by_source"},
        "entitlements_entitlement": {"entitlements_entitlement_pkey"},
        "entitlements_feature": {"entitlements_feature_pkey"},
    },
    "_BUDGETS": {
        "entitlements_budget": {"budget_by_customer"},
        "entitlements_budgetcounter": {"entitlements_budgetcounter_pkey"},
    },
    "_TALLIES": {"entitlements_budgetcounter": {"entitlements_budgetcounter_pkey"}},
    "_PRODUCTS": {"metering_billablemetric": {"metering_billablemetric_pkey"}},
}
QUESTIONS = {
    name: value
    for module in (reading, rereading, charging_budgets)
    for name, value in vars(module).items()
    if isinstance(value, Statement)
}
TABLES = sorted({table for fitting in FITTING.values() for table in fitting})


def know(admin: Any, *, is_known: bool) -> None:
    """Let PostgreSQL learn what the tables hold, but for empty ones, or forget that it ever looked."""
    for table in TABLES:
        if is_known and admin.execute(f"SELECT EXISTS (SELECT FROM {table})").fetchone() == (True,):
            admin.execute(f"ANALYZE {table}")
        else:
            admin.execute("DELETE FROM pg_statistic WHERE starelid = %s::regclass", [table])
            admin.execute(
                "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = %s::regclass "
                "OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %s::regclass)",
                [table, table],
            )


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from nodes(inner)


def discarded(found: dict[str, Any]) -> int:
    """How many rows were looked at in vain."""
    return sum(
        int(node.get(f"Rows Removed by {reason}", 0))
        for node in nodes(found)
        for reason in ("Filter", "Join Filter", "Index Recheck")
    )


class TestDueReservations:
    @pytest.mark.parametrize("is_known", [False, True])
    def test_are_found_without_a_look_at_those_that_are_not(self, is_known: bool, admin_connection: Any) -> None:
        shop = seller(customers=2)
        for customer in (0, 1):
            execution.execute([shop.hold(customer) for _ in range(MANY)])
        due = Reservation.objects.filter(customer_id=_uuid(shop, 0)).order_by("id").first()
        admin_connection.execute(
            "UPDATE entitlements_reservation SET expires_at = clock_timestamp() WHERE id = %s", [due.id]
        )
        know(admin_connection, is_known=is_known)
        found = plan(reading._BOOKS, str(_uuid(shop, 0).bytes[15]), str(_uuid(shop, 0)))
        assert discarded(found) < MANY // 100, json.dumps(found, indent=1)

    def test_are_found_by_the_customers_clock(self) -> None:
        shop = seller(funds_nanos=10 * MILL)
        book = Book.objects.filter(customer_id=_uuid(shop, 0))
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        book.update(test_clock=tomorrow)
        execution.execute([shop.hold(quantity=10, expiresIn=60)])
        assert isinstance(execution.execute([shop.record(quantity=10)])[0], Refused)
        book.update(test_clock=tomorrow + timedelta(seconds=60))
        assert isinstance(execution.execute([shop.record(quantity=10)])[0], Done)
        assert Reservation.objects.get().state == "expired"

    def test_of_a_customer_whose_clock_is_behind_are_left_alone(self) -> None:
        shop = seller(funds_nanos=10 * MILL)
        book = Book.objects.filter(customer_id=_uuid(shop, 0))
        now = datetime.now(UTC)
        book.update(test_clock=now - timedelta(hours=1))
        execution.execute([shop.hold(quantity=10, expiresIn=60)])
        assert isinstance(execution.execute([shop.record(quantity=10)])[0], Refused)


class TestEachQuestion:
    @pytest.mark.parametrize("is_known", [False, True])
    def test_has_one_index_whatever_the_statistics_say(self, is_known: bool, admin_connection: Any) -> None:
        know(admin_connection, is_known=False)
        assert {name: used(name) for name in FITTING} == FITTING  # when nothing is there yet
        shop = seller(customers=100)
        for customer in (0, 1):
            execution.execute([shop.hold(customer) for _ in range(MANY)])
            recorded = [shop.record(customer) for _ in range(MANY)]
            execution.execute(recorded)
            execution.execute([refund(command) for command in recorded[:40]])
        know(admin_connection, is_known=is_known)
        assert {name: used(name) for name in FITTING} == FITTING

    def test_is_asked_here(self) -> None:
        assert set(QUESTIONS) == set(FITTING)


def refund(command: commands.RecordUsage) -> commands.Refund:
    return commands.Refund(
        ids.new_raw(command.customer_id[15]), command.customer_id, command.merchant_id, command.id, "sorry"
    )


def used(name: str) -> dict[str, set[str]]:
    """The indexes that a question looks up in each table; all that fit, where nothing else is looked up."""
    found, fitting = indexes(QUESTIONS[name]), FITTING[name]
    return {table: fitting[table] if names <= fitting.get(table, set()) else names for table, names in found.items()}


def indexes(statement: Statement) -> dict[str, set[str]]:
    """Name the indexes that a statement of the lane looks up in each table."""
    kinds = ", ".join(KINDS[kind] for kind in statement.kinds)
    values = ", ".join("NULL" for _ in statement.kinds)
    with psycopg.connect(execution.database_url(), autocommit=True) as connection:
        connection.execute(store.SESSION)
        connection.execute(f"PREPARE asked ({kinds}) AS {statement.sql.decode()}")
        row = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE asked ({values})").fetchone()
    assert row is not None
    found: dict[str, set[str]] = {}
    for node in nodes(row[0][0]["Plan"]):
        if "Relation Name" in node:
            found.setdefault(node["Relation Name"], set()).add(node.get("Index Name", node["Node Type"]))
    return found


class TestCurrentCounters:
    def test_are_found_by_the_customers_clock(self) -> None:
        """A rate pinned in the period that the clock shows decides how much a reservation holds."""
        shop = seller()
        book = Book.objects.filter(customer_id=_uuid(shop, 0))
        next_period = datetime.now(UTC) + timedelta(days=35)
        book.update(test_clock=next_period, tax_rates={"default": "20"})
        execution.execute([shop.record(quantity=1, timestamp=next_period.isoformat())])
        book.update(tax_rates={"default": "10"})
        execution.execute([shop.hold(quantity=100)])
        assert Reservation.objects.get().granted == 120 * MILL


def _uuid(shop: Seller, customer: int) -> uuid.UUID:
    return uuid.UUID(bytes=shop.record(customer).customer_id)


MANY_EVENTS = """
INSERT INTO metering_usageevent (bucket, customer_id, id, merchant_id, subscription_id, idempotency_key, fingerprint,
    timestamp, created_at, properties)
SELECT bucket, customer_id, gen_random_uuid(), merchant_id, id, 'old-' || number, '', now(), now(), '[]'
FROM billing_subscription, generate_series(1, 50) AS number
"""


class TestKeysSeen:
    @pytest.mark.parametrize("is_known", [False, True])
    def test_are_looked_up_by_key_however_many_events_a_customer_has(
        self, is_known: bool, admin_connection: Any
    ) -> None:
        shop = seller(customers=100)
        admin_connection.execute(MANY_EVENTS)
        know(admin_connection, is_known=is_known)
        found = plan(reading._SEEN, str(_uuid(shop, 0).bytes[15]), str(_uuid(shop, 0)), "old-7")
        assert found["Actual Rows"] == 1
        assert "usage_event_once_per_key" in {node.get("Index Name") for node in nodes(found)}


class TestBudgets:
    @pytest.mark.parametrize("is_known", [False, True])
    def test_are_found_among_those_of_others_without_a_look_at_these(
        self, is_known: bool, admin_connection: Any
    ) -> None:
        shop = seller(customers=MANY // 3)
        for customer in range(MANY // 3):
            _set_budget(shop, customer)
        mine = _set_budget(shop, 0)
        execution.execute([shop.record(0, metadata={"agent": str(n)}) for n in range(MANY)])
        know(admin_connection, is_known=is_known)
        bucket = str(mine.bucket)
        budgets_read = plan(charging_budgets._BUDGETS, bucket, str(mine.customer_id))
        assert (budgets_read["Actual Rows"], discarded(budgets_read)) == (2, 0), json.dumps(budgets_read, indent=1)
        tallies_read = plan(charging_budgets._TALLIES, bucket, str(mine.id), "17")
        assert (tallies_read["Actual Rows"], discarded(tallies_read)) == (1, 0), json.dumps(tallies_read, indent=1)


def _set_budget(shop: Seller, customer: int) -> Budget:
    new = budgets.NewBudget(name="Agents", limit=10**12, currency="USD", window="day", scope="agent")
    return budgets.create(merchant_id=shop.seeded.merchant.id, customer_id=_uuid(shop, customer), new=new)
