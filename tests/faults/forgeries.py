"""Changes that only a superuser can make, and that ``manage.py verify`` must find."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from merchants import ids
from tests.faults.farthing import Farthing
from tests.faults.shop import Customer


@dataclass(frozen=True)
class Forgery:
    """A column of one row of a customer's that is moved by one, and back."""

    table: str
    columns: tuple[str, ...]
    row: str  # which of the customer's rows, as a condition on it


FORGERIES = (
    Forgery("billing_posting", ("amount",), "position = 0"),
    Forgery("billing_charge", ("net", "gross"), "kind = 'usage'"),
    Forgery("billing_wallet", ("balance",), "kind = 'prepaid'"),
    Forgery("billing_wallet", ("held",), "kind = 'prepaid'"),
)


@contextmanager
def forged(farthing: Farthing, forgery: Forgery, customer: Customer) -> Iterator[None]:
    """Have a row say one nano more than it should, for the length of the block."""
    with farthing.admin() as admin:
        admin.execute("SET session_replication_role = replica")  # no trigger, no guard
        found = admin.execute(
            f"SELECT ctid FROM {forgery.table} WHERE customer_id = %s AND {forgery.row} LIMIT 1",
            [ids.parse("cus", customer.id)],
        ).fetchone()
        assert found is not None, f"{forgery.table} has no row to forge"
        place = found[0]
        for sign in ("+", "-"):
            moves = ", ".join(f"{column} = {column} {sign} 1" for column in forgery.columns)
            row = admin.execute(
                f"UPDATE {forgery.table} SET {moves} WHERE ctid = %s RETURNING ctid", [place]
            ).fetchone()
            assert row is not None, "somebody else changed the row"
            place = row[0]
            if sign == "+":
                yield
