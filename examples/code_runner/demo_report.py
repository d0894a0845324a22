"""What the demo prints when trade is over, and the sums that must agree.

The expected total comes from the seller's own journal and the price list alone; everything else is read from Farthing,
over REST where it can be, by management commands otherwise.
"""

import json
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from .setup import PRICES, Account, Catalogue

ROOT = Path(__file__).resolve().parents[2]
PAGE = 100
PAGES_MAX = 1000
POLL_SECONDS = 0.5
VERIFY_SECONDS = "30"  # for what is still under way
COMMAND_SECONDS_MAX = 300.0
NANOS = 10**9

# Sums of postings by kind of account, of the customers whose ids are in the environment.
LEDGER = """
import json, os
from django.db import connection
from merchants import ids
customers = [ids.parse_raw("cus", each).hex() for each in os.environ["CUSTOMERS"].split()]
with connection.cursor() as cursor:
    cursor.execute('''
        SELECT kind, sum(debit)::text, sum(credit)::text FROM (
            SELECT bucket, debit_account_id AS id, amount AS debit, 0 AS credit FROM billing_posting
            UNION ALL SELECT bucket, credit_account_id, 0, amount FROM billing_posting
        ) AS side JOIN billing_account USING (bucket, id)
        WHERE customer_id = ANY(%s::uuid[]) GROUP BY kind ORDER BY kind
    ''', [customers])
    print(json.dumps(cursor.fetchall()))
"""


@dataclass(frozen=True, slots=True)
class Buyer:
    """A customer of the demo and what was paid in."""

    name: str
    account: Account
    funded: Decimal


class Report:
    """Reads what both sides know, prints it and compares it."""

    def __init__(
        self, catalogue: Catalogue, environment: Mapping[str, str], journal: Path, metrics: Mapping[str, str]
    ) -> None:
        self._catalogue, self._environment, self._journal = catalogue, environment, journal
        self._prices = {metrics[name]: price * NANOS for name, price in PRICES.items()}
        self._faults: list[str] = []

    def wait_until_settled(self, buyers: Sequence[Buyer], seconds_max: float) -> None:
        """This will wait until every charge is posted to the ledger."""
        deadline = time.monotonic() + seconds_max
        while any(int(self._wallet(buyer)["spent"]) for buyer in buyers) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def show(self, buyers: Sequence[Buyer]) -> list[str]:
        """This will print the report and return what is wrong, a line each."""
        expected = {buyer.account.customer_id: 0 for buyer in buyers} | self._expected()
        for section in (self._show_wallets, self._show_events, self._show_ledger, self._show_invoice):
            try:
                section(buyers, expected)
            except RuntimeError as error:  # the other sections still tell something
                self._faults.append(str(error))
        self._show_verify()
        return self._faults

    # --- the seller's side -----------------------------------------------------------------------------------

    def _expected(self) -> dict[str, int]:
        """This will add up the journal: nanos for each customer, from measured quantities and the price list."""
        with sqlite3.connect(f"file:{self._journal}?mode=ro", uri=True) as journal:
            rows = journal.execute("SELECT customer_id, state, usage_body FROM submission").fetchall()
        totals: dict[str, Decimal] = {}
        for customer, state, usage in rows:
            if state not in ("reported", "released"):
                self._faults.append(f"a submission of {customer} was left {state}")
            if state == "reported":
                cost = sum(self._prices[p["billableMetricId"]] * p["quantity"] for p in json.loads(usage)["properties"])
                totals[customer] = totals.get(customer, Decimal(0)) + cost
        return {customer: int(total) for customer, total in totals.items()}

    # --- Farthing's side -------------------------------------------------------------------------------------

    def _wallet(self, buyer: Buyer) -> dict[str, Any]:
        return self._catalogue.get(f"/v0/wallets/{buyer.account.wallet_id}")

    def _show_wallets(self, buyers: Sequence[Buyer], expected: Mapping[str, int]) -> None:
        rows = []
        for buyer in buyers:
            wallet = {name: int(self._wallet(buyer)[name]) for name in ("balance", "held", "spent", "available")}
            charged, funded = expected[buyer.account.customer_id], int(buyer.funded * NANOS)
            rows.append([buyer.name, *(dollars(n) for n in (funded, charged, *wallet.values()))])
            self._compare(f"{buyer.name}'s balance", wallet["balance"], funded - charged)
            self._compare(f"what is held for {buyer.name}", wallet["held"], 0)
            self._compare(f"what is not settled for {buyer.name}", wallet["spent"], 0)
        table("Wallets", ["customer", "paid in", "owed by journal", "balance", "held", "spent", "available"], rows)

    def _show_events(self, buyers: Sequence[Buyer], expected: Mapping[str, int]) -> None:
        rows = []
        for buyer in buyers:
            events = self._events(buyer)
            charged = sum(int(event["billing"]["totalAmount"]) for event in events)
            rows.append([buyer.name, str(len(events)), dollars(charged)])
            self._compare(f"{buyer.name}'s charges", charged, expected[buyer.account.customer_id])
        table("Usage events", ["customer", "events", "charged"], rows)

    def _events(self, buyer: Buyer) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        start, end = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))
        query = {"startTime": start.isoformat(), "endTime": end.isoformat(), "limit": str(PAGE)}
        for number in range(PAGES_MAX):
            page = self._catalogue.get(
                "/v0/usage", customerId=buyer.account.customer_id, offset=str(number * PAGE), **query
            )
            found += page["data"]
            if len(found) >= page["pagination"]["total"]:
                break
        return found

    def _show_ledger(self, buyers: Sequence[Buyer], expected: Mapping[str, int]) -> None:
        customers = " ".join(buyer.account.customer_id for buyer in buyers)
        postings = json.loads(self._manage("shell", "--verbosity=0", "--command", LEDGER, CUSTOMERS=customers))
        accounts = {kind: (int(debit), int(credit)) for kind, debit, credit in postings}
        rows = [[kind, dollars(d), dollars(c), dollars(c - d)] for kind, (d, c) in accounts.items()]
        debit, credit = (sum(sides) for sides in zip(*accounts.values(), strict=True))
        rows.append(["all", dollars(debit), dollars(credit), dollars(credit - debit)])
        table("Ledger", ["account", "debit", "credit", "credit - debit"], rows)
        self._compare("the ledger's debits", debit, credit)
        self._compare("what customers used up", accounts["customer_credit"][0], sum(expected.values()))
        self._compare(
            "what customers paid in", accounts["customer_credit"][1], nanos(str(sum(b.funded for b in buyers)))
        )

    def _show_invoice(self, buyers: Sequence[Buyer], expected: Mapping[str, int]) -> None:
        buyer = buyers[0]
        listed = self._catalogue.get("/v2/invoices", subscriptionId=buyer.account.subscription_id)["data"]
        used = [each for each in listed if Decimal(each["grandTotal"])]
        if len(used) != 1:
            self._faults.append(f"{buyer.name} has {len(used)} invoices with something on them instead of one")
            return
        invoice = self._catalogue.get(f"/v2/invoices/{used[0]['id']}", expand="lineItems")
        rows = [
            [
                line["invoiceDisplayName"],
                *(str(line[n]) for n in ("chargeCount", "quantity", "unitPrice", "totalAmount")),
            ]
            for line in invoice["lineItems"]["lineItems"]
        ]
        rows.append(["all", "", "", "", invoice["grandTotal"]])
        title = f"{buyer.name}'s invoice, {invoice['status']}, from {invoice['periodStart'][:10]}"
        table(title, ["line", "charges", "quantity", "unit price", "total"], rows)
        owed = expected[buyer.account.customer_id]
        self._compare(f"{buyer.name}'s invoice", nanos(invoice["grandTotal"]), owed)
        self._compare(f"{buyer.name}'s invoice lines", sum(nanos(row[-1]) for row in rows[:-1]), owed)

    def _show_verify(self) -> None:
        try:
            print("\nmanage.py verify\n" + textwrap.indent(self._manage("verify", "--wait", VERIFY_SECONDS), "  "))
        except RuntimeError as error:
            self._faults.append(str(error))

    def _manage(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self._environment, **environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {arguments[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _compare(self, what: str, found: int, wanted: int) -> None:
        if found != wanted:
            self._faults.append(f"{what}: {dollars(found)} instead of {dollars(wanted)}")


def dollars(amount: int) -> str:
    """This will write nanos as dollars, exactly."""
    return f"{'-' if amount < 0 else ''}{abs(amount) // NANOS}.{abs(amount) % NANOS:09}"


def nanos(amount: str) -> int:
    """This will read dollars as nanos, exactly."""
    return int(Decimal(amount) * NANOS)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """This will print rows under a title, the first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    print(f"\n{title}")
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells))
