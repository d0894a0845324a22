"""The five classes of table, and the rules each obeys so that the same code runs distributed.

Owned tables belong to one customer and carry ``bucket``, the distribution column; merchant tables are keyed
by merchant; queue tables by bucket; reference tables are small, slowly changing and everywhere; local tables
never leave their server. docs/adr/0004 gives the reasons.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db import models


class TableClass(StrEnum):
    OWNED = "owned"
    MERCHANT = "merchant"
    QUEUE = "queue"
    REFERENCE = "reference"
    LOCAL = "local"


BUCKETED = {TableClass.OWNED, TableClass.QUEUE}
OUR_APPS = ("merchants", "customers", "metering", "billing", "entitlements", "charging", "portal", "dashboard")


def unique_keys(model: type[models.Model]) -> list[tuple[str, ...]]:
    """List the column sets that the database keeps unique for a model, primary key first."""
    meta = model._meta
    keys = [tuple(field.name for field in meta.pk_fields)]
    keys += [(field.name,) for field in meta.local_fields if field.unique and not field.primary_key]
    keys += [tuple(c.fields) for c in meta.constraints if isinstance(c, models.UniqueConstraint)]
    return keys


@checks.register("tables")
def check_table_classes(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Report models without a table class, and bucketed tables with a key that does not name the bucket."""
    problems: list[checks.CheckMessage] = []
    for label in OUR_APPS:
        if not apps.is_installed(label):
            continue
        for model in apps.get_app_config(label).get_models():
            table_class = getattr(model, "table_class", None)
            if table_class is None:
                problems.append(checks.Error(f"{model._meta.label} declares no table_class", id="tables.E001"))
            elif table_class in BUCKETED:
                loose = [key for key in unique_keys(model) if "bucket" not in key]
                if loose:
                    message = f"{model._meta.label} has keys without the bucket: {loose}"
                    problems.append(checks.Error(message, id="tables.E002"))
    return problems


def append_only(*tables: str) -> str:
    """Write the SQL that makes tables refuse UPDATE, DELETE and TRUNCATE, by trigger and by missing privilege."""
    statements = [
        """CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'check_violation';
           END $$;"""
    ]
    for table in tables:
        statements.append(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
        )
        statements.append(for_app_role(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM"))
    return "\n".join(statements)


def for_app_role(statement: str) -> str:
    """Write SQL that ends in the app role's name, run only where that role exists and is not the owner."""
    role = settings.DATABASE_APP_ROLE
    return (
        f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}' AND rolname <> current_user) "
        f"THEN EXECUTE '{statement} {role}'; END IF; END $$;"
    )


def key_ends_with_bucket(table: str, *columns: str) -> str:
    """Write the SQL that puts the bucket last in a table's primary key, of which these are the other columns.

    What the lane looks up by another key is then not looked up by the primary key as well (docs/adr/0010).
    """
    key = f"{table}_pkey"
    return (
        f"ALTER TABLE {table} DROP CONSTRAINT {key}, ADD CONSTRAINT {key} PRIMARY KEY ({', '.join(columns)}, bucket);"
    )


def belongs_to_book(*tables: str) -> str:
    """Write the SQL of the composite foreign keys that tie owned tables to their customer's book."""
    return "\n".join(
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_book FOREIGN KEY (bucket, customer_id) "
        f"REFERENCES customers_book (bucket, customer_id);"
        for table in tables
    )
