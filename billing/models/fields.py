"""The column types of money: exact, never NaN, wide enough that arithmetic is refused long before it overflows."""

from typing import Any

from django.db import models
from django.db.models.expressions import RawSQL


class NanosField(models.DecimalField):  # type: ignore[type-arg]
    """An integer of nanos (10^-9 of the currency's major unit), ``numeric(38,0)`` in PostgreSQL, ``int`` in Python."""

    def __init__(self, **options: Any) -> None:
        options["max_digits"], options["decimal_places"] = 38, 0
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        del options["max_digits"], options["decimal_places"]
        return name, path, args, options

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> int | None:
        return None if value is None else int(value)

    def to_python(self, value: Any) -> Any:
        return None if value is None else int(value)


class QuantityField(models.DecimalField):  # type: ignore[type-arg]
    """A quantity or an exact amount with up to 18 decimals."""

    def __init__(self, **options: Any) -> None:
        options["max_digits"], options["decimal_places"] = 56, 18
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        del options["max_digits"], options["decimal_places"]
        return name, path, args, options


def never_nan(name: str, *columns: str, may_be_null: bool = False) -> models.CheckConstraint:
    """Build the CHECK that refuses ``'NaN'`` in columns; a sum is NaN where one of its parts is.

    PostgreSQL reads the text of each CHECK again in every statement that writes the table: a short one is a fast one.
    """
    parts = [f'coalesce("{column}", 0)' if may_be_null else f'"{column}"' for column in columns]
    condition = RawSQL(f"{' + '.join(parts)} <> 'NaN'", (), models.BooleanField())  # noqa: S611 - names of columns
    return models.CheckConstraint(condition=condition, name=name)
