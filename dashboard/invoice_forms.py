"""The forms of what is done with invoices and disputes."""

from collections.abc import Sequence
from typing import Any, Final

from django import forms

from billing.credit_notes import Reason, To
from dashboard.forms import NAME_LENGTH_MAX, REASON_LENGTH_MAX

_DECIMAL: Final = {"inputmode": "decimal", "step": "any"}
REASONS: Final = {
    Reason.CORRECTION.value: "A correction",
    Reason.DUPLICATE.value: "Billed twice",
    Reason.ORDER_CHANGE.value: "The order changed",
    Reason.UNSATISFACTORY.value: "The service was not as agreed",
    Reason.GOODWILL.value: "Goodwill",
    Reason.VOID.value: "The invoice is void",
    Reason.OTHER.value: "Something else",
}
WAYS: Final = {
    To.AUTO.value: "Off what is owed first, the rest to the balance",
    To.RECEIVABLE.value: "Only off what is owed",
    To.BALANCE.value: "All of it to the balance",
    To.CARD.value: "Back to the card that paid",
}


def _money(label: str, **options: Any) -> forms.DecimalField:
    return forms.DecimalField(
        label=label, max_digits=21, decimal_places=9, widget=forms.NumberInput(attrs=_DECIMAL), **options
    )


class Confirm(forms.Form):
    """Nothing but a yes."""


class AddLine(forms.Form):
    """A line by hand."""

    name = forms.CharField(label="What it is for", max_length=160, help_text="As it stands on the invoice.")
    description = forms.CharField(label="Description", required=False, max_length=1_000)
    quantity = _money("Quantity", min_value=0, initial=1)
    unit_price = _money("Unit price", help_text="Before tax. Below zero for a credit.")
    key = forms.CharField(max_length=64, widget=forms.HiddenInput)  # a form sent twice adds once


class MarkPaid(forms.Form):
    """What the merchant was paid past us."""

    amount = _money("Amount", min_value=0, required=False, help_text="Left empty: all that is owed.")
    reference = forms.CharField(
        label="Reference", required=False, max_length=255, help_text="Of the transfer, to find it again."
    )


class WithReason(forms.Form):
    """Why something is done."""

    reason = forms.CharField(label="Reason", max_length=REASON_LENGTH_MAX, help_text="Kept in the audit log.")


class Credit(forms.Form):
    """What is given back of an invoice."""

    reason = forms.ChoiceField(
        label="Reason", choices=[(key, words) for key, words in REASONS.items() if key != Reason.VOID.value]
    )
    to = forms.ChoiceField(label="Where it goes", choices=list(WAYS.items()))
    memo = forms.CharField(
        label="Note", required=False, max_length=REASON_LENGTH_MAX, help_text="Printed on the credit note."
    )

    def __init__(self, data: Any = None, *, lines: Sequence[tuple[str, str]]) -> None:
        super().__init__(data)
        for place, (says, left) in enumerate(lines):
            self.fields[f"line_{place}"] = _money(
                f"Of “{says[: NAME_LENGTH_MAX - 20]}”",
                min_value=0,
                required=False,
                help_text=f"At most {left}, tax included.",
            )


class Decide(forms.Form):
    """What a customer is told about their dispute."""

    message = forms.CharField(
        label="Message to the customer", required=False, max_length=1_000, widget=forms.Textarea(attrs={"rows": 4})
    )
