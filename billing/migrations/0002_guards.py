"""What the database itself refuses, and how the busiest tables are stored."""

from django.db import migrations

from merchants.tables import append_only, belongs_to_book

APPEND_ONLY = append_only(
    "billing_charge",
    "billing_refund",
    "billing_entry",
    "billing_posting",
    "billing_settlement",
    "billing_lotdraw",
    "billing_priceversion",
    "billing_planversion",
    "billing_planversionprice",
)

BOOKS = belongs_to_book(
    "billing_subscription", "billing_wallet", "billing_creditlot", "billing_topup", "billing_account", "billing_invoice"
)

# A posting's two accounts exist and are of the posting's currency.
POSTINGS = "\n".join(
    f"ALTER TABLE billing_posting ADD CONSTRAINT posting_{side}_account "
    f"FOREIGN KEY (bucket, {side}_account_id, currency) REFERENCES billing_account (bucket, id, currency);"
    for side in ("debit", "credit")
)

# Wallets and counters are rewritten by every event: room on the page keeps each rewrite off the indexes (HOT),
# and frequent small vacuums keep the pages short.
STORAGE = """
ALTER TABLE billing_wallet SET (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE billing_counter SET (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE billing_unsettledwallet SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("merchants", "0002_guards"), ("customers", "0001_initial")]
    operations = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (APPEND_ONLY, BOOKS, POSTINGS, STORAGE)]
