"""What the database itself refuses, and how reservations are stored."""

from django.db import migrations

from merchants.tables import belongs_to_book

STORAGE = """
ALTER TABLE entitlements_reservation SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0);
"""


class Migration(migrations.Migration):
    dependencies = [("entitlements", "0001_initial"), ("customers", "0001_initial")]
    operations = [
        migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (belongs_to_book("entitlements_reservation"), STORAGE)
    ]
