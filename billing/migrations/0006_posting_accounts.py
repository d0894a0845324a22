"""Postings are many and written in bulk: their accounts are joined when they are inserted, not checked one by one.

The two foreign keys took more time than everything else a settlement writes. What they ensured, the statement in
ledger.py ensures (it inserts nothing for an account that is not there in the posting's currency) and
``manage.py verify`` proves.
"""

from django.db import migrations

DROP = """
ALTER TABLE billing_posting DROP CONSTRAINT posting_debit_account;
ALTER TABLE billing_posting DROP CONSTRAINT posting_credit_account;
"""
ADD = "\n".join(
    f"ALTER TABLE billing_posting ADD CONSTRAINT posting_{side}_account "
    f"FOREIGN KEY (bucket, {side}_account_id, currency) REFERENCES billing_account (bucket, id, currency);"
    for side in ("debit", "credit")
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_parking")]
    operations = [migrations.RunSQL(DROP, ADD)]
