"""A form for each price model: it reads what a person typed into the properties that the contract has.

Numbers stay text: whether they are sound is said by ``billing.prices``, in the words it has for every door, and each
of its refusals is shown beside the field it is about. A form with rows is posted again with more of them, so that
everything works without scripts.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from django import forms
from django.forms import BoundField

from billing.models import PaymentTerm
from billing.prices import reading
from dashboard import currency_forms
from dashboard.forms import MerchantChoice
from dashboard.price_fields import applies_to, typed
from metering.expressions import limits
from metering.models import BillableMetric

ROWS_MIN = 3
ROWS_MORE = 3
SAMPLES_LENGTH_MAX = 20_000
SAMPLES = """[
  {"quantity": 10},
  {"quantity": 250, "metadata": {"tier": "premium"}}
]"""
_NOT_FIGURES = {"metric", "payment_term", "samples"}  # which are the same in all currencies
_COMMON = {
    "included_units": "includedUnits",
    "minimum_charge": "minimumCharge",
    "maximum_charge": "maximumCharge",
}


class MetricPrice(forms.Form):
    """What a price of a metric has by any model; its numbers are those of the classes below."""

    model: ClassVar[str]
    label: ClassVar[str]
    lead: ClassVar[str]
    has_options: ClassVar[bool] = True  # in other currencies
    alike: ClassVar[tuple[str, ...]] = ("included_units",)  # how fields begin that are no money
    # The form's plain fields by the properties they become, in the order they are shown.
    members: ClassVar[dict[str, str]]

    metric = MerchantChoice(queryset=BillableMetric.objects.none(), label="Metric", empty_label="Choose a metric")
    included_units = typed("Free units in each period")
    minimum_charge = typed(
        "At least in each period", "Before tax. What use falls short of it is charged when the period's invoice closes."
    )
    maximum_charge = typed("At most in each period", "What use of this metric costs at most, before tax.")
    payment_term = forms.ChoiceField(
        label="Paid",
        choices=[
            (PaymentTerm.INSTANT.value, "At once, from the prepaid balance"),
            (PaymentTerm.IN_ARREARS.value, "On the invoice after the period"),
        ],
        widget=forms.RadioSelect,
        initial=PaymentTerm.INSTANT.value,
    )

    def __init__(
        self,
        data: Any = None,
        *,
        own: str,
        known: Sequence[str] = (),
        metrics: Any = None,
        typed: Mapping[str, Any] | None = None,
        currency: str = "",
    ) -> None:
        """Show what was typed.

        Args:
            own: the currency of the plan.
            known: the others that figures are asked for before anything was sent.
            metrics: those there are to choose from; None for a price that there is, whose metric stays.
            typed: what was typed into a form that is not sent yet.
            currency: another one, whose figures alone are asked for.
        """
        self.typed: Mapping[str, Any] = data if data is not None else typed or {}
        super().__init__(data, prefix=currency or None)
        self.own, self.currency, self.others = own, currency, list[MetricPrice]()
        if typed is not None:
            named = {name: self.add_prefix(name) for name in self.fields}
            self.initial = {name: typed[key] for name, key in named.items() if key in typed}
        if currency:
            for name in _NOT_FIGURES & self.fields.keys():
                del self.fields[name]
            return
        if self.has_options:
            chosen = currency_forms.chosen(self.typed, known, own)
            if typed is not None and currency_forms.ADD in typed:
                typed = {**self._copied(typed), **typed}
            self.others = [type(self)(data, own=own, typed=typed, currency=each) for each in chosen]
        self.spare = currency_forms.spare(own, self.currencies)
        if metrics is None:
            del self.fields["metric"]
            self.fields["applies_to"] = applies_to()
        else:
            self.fields["metric"].queryset = metrics  # type: ignore[attr-defined]

    def _copied(self, typed: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a currency that is being added begins with: what is no money."""
        added = str(typed.get(currency_forms.ADDED, ""))
        alike = {name: value for name, value in typed.items() if name.startswith(self.alike)}
        return {currency_forms.name_in(added, name): value for name, value in alike.items()}

    @property
    def currencies(self) -> list[str]:
        """The currencies beside the plan's own that it has figures for."""
        return [block.currency for block in self.others]

    def is_valid(self) -> bool:
        """Tell whether everything was typed, in every currency."""
        return all([super().is_valid(), *(block.is_valid() for block in self.others)])

    def options(self) -> dict[str, Any]:
        """Return the price's properties in other currencies."""
        return {block.currency: block.properties() for block in self.others}

    @classmethod
    def typed_of(cls, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return what somebody would type to come to a price's properties."""
        return {name: properties[member] for name, member in {**cls.members, **_COMMON}.items() if member in properties}

    def text(self, name: str) -> str:
        """Return what was typed into a field, without outer spaces."""
        return str(self.typed.get(self.add_prefix(name)) or "").strip()

    def properties(self) -> dict[str, Any]:
        """Return the price's properties, without those of which nothing was typed."""
        named = {name: member for name, member in {**self.members, **_COMMON}.items() if name in self.fields}
        return {member: self.text(name) for name, member in named.items() if self.text(name)}

    def names(self) -> dict[str, str]:
        """Return the form's fields by the names that a refusal may have for them."""
        common = {"paymentTerm": "payment_term", "prices": "metric", "billableMetricId": "metric"}
        return common | {f"properties.{member}": name for name, member in {**_COMMON, **self.members}.items()}

    def shown(self) -> list[BoundField]:
        """List the fields of the model itself that stand before its rows."""
        return [self[name] for name in self.members]

    def rows(self) -> list[list[BoundField]]:
        """List the rows of the model, each with its fields; most models have none."""
        return []


class Standard(MetricPrice):
    """Every unit costs the same."""

    model, label, lead = "standard", "Per unit", "Every unit costs the same."
    members = {"unit_price": "unitPrice"}
    unit_price = typed(
        "Unit price",
        "Up to 9 decimals. A price of 0.001 charges 1.00 for every 1,000 units. Below zero it is a rebate, on the "
        "invoice after the period.",
        required=True,
        keypad="",  # that for decimals has no minus sign on some phones
    )


class Package(MetricPrice):
    """Units come in packages."""

    model, label, lead = "package", "Packages", "Units come in packages; one that is begun is paid in full."
    members = {"package_size": "packageSize", "package_price": "packagePrice"}
    alike = ("included_units", "package_size")
    package_size = typed("Units in a package", required=True)
    package_price = typed("Price of a package", required=True)


class _Rows(MetricPrice):
    """A form with as many rows as are asked for; those in which nothing is typed count for nothing."""

    parts: ClassVar[dict[str, str]]
    rows_max: ClassVar[int]
    row_name: ClassVar[str]
    rows_path: ClassVar[str]

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        asked = self.text("rows")
        wanted = int(asked) if asked.isdecimal() and len(asked) < 5 else ROWS_MIN
        self.row_count = max(1, min(wanted, self.rows_max))
        for row in range(self.row_count):
            for part, label in self.parts.items():
                name = f"{part}_{row}"
                self.fields[name] = typed(label, keypad="" if part.startswith("value") else "decimal")
                if not self.is_bound:
                    self.initial[name] = self.text(name)

    @property
    def rows_name(self) -> str:
        """The name of the field that says how many rows there are."""
        return self.add_prefix("rows")

    def rows(self) -> list[list[BoundField]]:
        """List the rows, each with its fields."""
        return [[self[f"{part}_{row}"] for part in self.parts] for row in range(self.row_count)]

    def filled(self) -> Iterator[int]:
        """Yield the rows in which something is typed."""
        return (row for row in range(self.row_count) if any(self.text(f"{part}_{row}") for part in self.parts))


class Tiers(_Rows):
    """Prices by tier."""

    members: ClassVar[dict[str, str]] = {}
    parts = {"up_to": "Up to", "unit_price": "Unit price", "flat_fee": "Flat fee"}
    alike = ("included_units", "up_to_", "rows")
    rows_max, row_name, rows_path = reading.TIERS_MAX, "Tier", "tiers"

    @classmethod
    def typed_of(cls, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return what somebody would type to come to a price's properties."""
        tiers = properties.get("tiers", [])  # the older form of volume has none
        members = {"up_to": "upTo", "unit_price": "unitPrice", "flat_fee": "flatFee"}
        rows = {
            f"{part}_{row}": tier.get(member) or ""
            for row, tier in enumerate(tiers)
            for part, member in members.items()
        }
        return super().typed_of(properties) | rows | {"rows": str(max(len(tiers), ROWS_MIN))}

    def properties(self) -> dict[str, Any]:
        """Return the tiers as they are typed, the empty ones left out."""
        tiers = [
            {
                "upTo": self.text(f"up_to_{row}") or None,
                "unitPrice": self.text(f"unit_price_{row}"),
                **({"flatFee": flat_fee} if (flat_fee := self.text(f"flat_fee_{row}")) else {}),
            }
            for row in self.filled()
        ]
        return {**super().properties(), "tiers": tiers}

    def names(self) -> dict[str, str]:
        """Return the fields of each tier by its place among those that are typed."""
        places = {
            f"properties.tiers.{place}.{member}": f"{part}_{row}"
            for place, row in enumerate(self.filled())
            for part, member in (("up_to", "upTo"), ("unit_price", "unitPrice"), ("flat_fee", "flatFee"))
        }
        return super().names() | {"properties.tiers": "unit_price_0"} | places


class Graduated(Tiers):
    """Each unit costs what its tier says."""

    model, label = "graduated", "Graduated"
    lead = "Each unit costs what its tier says. Leave “Up to” of the last tier empty."


class Volume(Tiers):
    """All units cost what the tier says."""

    model, label = "volume", "Volume"
    lead = "All units cost what the tier says that their number falls into. Leave “Up to” of the last tier empty."


class Percentage(MetricPrice):
    """A part of an amount of money."""

    model, label = "percentage", "Percentage"
    lead = "A part of the amount of each use. The unit of the metric must be the plan’s currency."
    has_options = False  # it is of amounts of the metric's currency
    members = {
        "percentage": "percentage",
        "fixed_fee": "fixedFee",
        "min_charge": "minCharge",
        "max_charge": "maxCharge",
    }
    included_units = None  # type: ignore[assignment]
    percentage = typed("Percentage", "Up to 1,000, with 2 decimals: 2.9 takes 0.29 of 10.00.", required=True)
    fixed_fee = typed("Plus, for each use")
    min_charge = typed("At least, for each use")
    max_charge = typed("At most, for each use")

    @classmethod
    def typed_of(cls, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return what somebody would type to come to a price's properties."""
        percentage = Decimal(properties["percentage"]).scaleb(2).normalize()
        return super().typed_of(properties) | {"percentage": f"{percentage:f}"}

    def properties(self) -> dict[str, Any]:
        """Return the percentage as the fraction that the contract has."""
        found = super().properties()
        try:
            fraction = Decimal(found.get("percentage", ""))
            if fraction.is_finite():
                found["percentage"] = f"{fraction.scaleb(-2).normalize():f}"
        except InvalidOperation:
            pass  # it is refused as it is
        return found


class Dynamic(MetricPrice):
    """Each use states its price."""

    model, label, lead = "dynamic", "Stated", "Each use states its own unit price, within bounds."
    members = {"min_price": "minPrice", "max_price": "maxPrice"}
    included_units = None  # type: ignore[assignment]
    min_price = typed("Unit price, at least")
    max_price = typed("Unit price, at most", "Without it, reservations must state an amount.")


class Matrix(_Rows):
    """The price goes by what is used."""

    model, label = "matrix", "By attribute"
    lead = "The unit price goes by what the metadata of each use says, such as its model and region."
    members = {"default_unit_price": "defaultUnitPrice"}
    parts = {"value_0": "First", "value_1": "Second", "value_2": "Third", "unit_price": "Unit price"}
    alike = ("dimensions", "value_", "rows")
    rows_max, row_name, rows_path = reading.CELLS_MAX, "Combination", "cells"
    included_units = None  # type: ignore[assignment]
    dimensions = typed("Attributes", "Up to three, with commas: model, region", required=True, keypad="")
    default_unit_price = typed("Unit price of all others", "Without it, any other use is refused.")

    def shown(self) -> list[BoundField]:
        """Put the attributes first."""
        return [self["dimensions"], *super().shown()]

    @classmethod
    def typed_of(cls, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return what somebody would type to come to a price's properties."""
        cells = properties["cells"]
        rows = {f"unit_price_{row}": cell["unitPrice"] for row, cell in enumerate(cells)}
        rows |= {
            f"value_{place}_{row}": value
            for row, cell in enumerate(cells)
            for place, value in enumerate(cell["values"])
        }
        named = {"dimensions": ", ".join(properties["dimensions"]), "rows": str(max(len(cells), ROWS_MIN))}
        return super().typed_of(properties) | rows | named

    def properties(self) -> dict[str, Any]:
        """Return the cells as they are typed, with as many values as there are attributes."""
        dimensions = [name.strip() for name in self.text("dimensions").split(",")]
        cells = [
            {
                "values": [self.text(f"value_{place}_{row}") for place, _ in enumerate(dimensions[:3])],
                "unitPrice": self.text(f"unit_price_{row}"),
            }
            for row in self.filled()
        ]
        return {**super().properties(), "dimensions": dimensions, "cells": cells}

    def names(self) -> dict[str, str]:
        """Return the fields of each cell by its place among those that are typed."""
        found = super().names() | {"properties.dimensions": "dimensions", "properties.cells": "value_0_0"}
        found |= {f"properties.dimensions.{place}": "dimensions" for place in range(3)}
        for place, row in enumerate(self.filled()):
            at = f"properties.cells.{place}"
            found |= {f"{at}.unitPrice": f"unit_price_{row}", f"{at}.values": f"value_0_{row}"}
            found |= {f"{at}.values.{value}": f"value_{value}_{row}" for value in range(3)}
        return found


class Formula(MetricPrice):
    """An expression, and sample events to try it on."""

    model, label = "formula", "Formula"
    lead = "An expression says what each use costs, from its quantity, price, metadata, data and timestamp."
    members = {"formula": "formula", "max_amount": "maxAmount", "min_amount": "minAmount"}
    alike = ("formula",)
    included_units = None  # type: ignore[assignment]
    formula = forms.CharField(
        label="Formula",
        max_length=limits.SOURCE_CHARS_MAX,
        help_text="Such as: quantity * 0.002 + (metadata.tier == 'premium' ? 0.01 : 0)",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "autocomplete": "off", "class": "source"}),
    )
    max_amount = typed("At most, for each use", "A use that comes to more is refused.", required=True)
    min_amount = typed("At least, for each use", "A use that comes to less is refused; always one below zero.")
    samples = forms.CharField(
        label="Try it on",
        required=False,
        max_length=SAMPLES_LENGTH_MAX,
        initial=SAMPLES,
        help_text="Sample events, as a JSON list. Nothing is charged or stored.",
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "autocomplete": "off", "class": "source"}),
    )

    def text(self, name: str) -> str:
        """Return what was typed into a field, with lines that end as everywhere else."""
        return super().text(name).replace("\r\n", "\n")


MODELS: dict[str, type[MetricPrice]] = {
    form.model: form for form in (Standard, Graduated, Volume, Package, Percentage, Dynamic, Matrix, Formula)
}
