"""Changes that only a superuser can make, and that ``manage.py verify`` must find."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from merchants import ids
from tests.faults.farthing import Farthing
from tests.faults.shop import Customer


@dataclass(frozen=True)
class Forgery:
    """A column of one row of a customer's that is moved by one, and back."""

    table: str
    columns: tuple[str, ...]
    name: str  # of the column that, with the condition, tells the customer's rows apart
    condition: str


FORGERIES = (
    Forgery("billing_posting", ("amount",), "entry_id", "position = 0"),
    Forgery("billing_charge", ("net", "gross"), "source_id", "kind = 'usage' AND position = 0"),
    Forgery("billing_wallet", ("balance",), "id", "kind = 'prepaid'"),
    Forgery("billing_wallet", ("held",), "id", "kind = 'prepaid'"),
)


@contextmanager
def forged(farthing: Farthing, forgery: Forgery, customer: Customer) -> Iterator[None]:
    """Have a row say one nano more than it should, for the length of the block."""
    customer_id = ids.parse("cus", customer.id)
    with farthing.admin() as admin:
        admin.execute("SET session_replication_role = replica")  # no trigger, no guard
        found = admin.execute(
            f"SELECT {forgery.name} FROM {forgery.table} WHERE customer_id = %s AND {forgery.condition} LIMIT 1",
            [customer_id],
        ).fetchone()
        assert found is not None, f"{forgery.table} has no row to forge"
        _move(admin, forgery, customer_id, found[0], 1)
        try:
            yield
        finally:
            _move(admin, forgery, customer_id, found[0], -1)


def _move(
    admin: psycopg.Connection[Any], forgery: Forgery, customer_id: uuid.UUID, name: uuid.UUID, nanos: int
) -> None:
    moves = ", ".join(f"{column} = {column} + {nanos}" for column in forgery.columns)
    with admin.transaction():
        # The product is at work: what it has read under this lock it writes back, whatever happened in between.
        admin.execute("SELECT FROM customers_book WHERE customer_id = %s FOR NO KEY UPDATE", [customer_id])
        row = f"customer_id = %s AND {forgery.name} = %s AND {forgery.condition}"
        admin.execute(f"UPDATE {forgery.table} SET {moves} WHERE {row}", [customer_id, name])
