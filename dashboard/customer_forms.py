"""The form of a customer: who they are, where, how they are taxed, when they pay, and which e-mails they get."""

from typing import Any, Final

from django import forms

from billing.policies import NET_DAYS_MAX
from customers import tax_ids
from customers.models import Customer
from customers.registry import DEFAULT_RATE, NOTIFICATIONS, TAX_ID_LENGTH_MAX
from dashboard import sections
from dashboard.forms import NAME_LENGTH_MAX
from dashboard.sections import ADDRESS, PLAIN, Section

PHONE_LENGTH_MAX = 40
EXTERNAL_ID_LENGTH_MAX = 255
# The form's fields by the names that the activities use in what they refuse.
NAMES: Final = {
    "externalId": "external_id", "taxId": "tax_id", "taxRates.default": "tax_rate", "netDays": "net_days",
    **{f"address.{part}": part for part in ADDRESS},
}  # fmt: skip
# Conflicts, by the field that they are about.
TAKEN: Final = {"EXTERNAL_ID_TAKEN": "external_id", "EMAIL_TAKEN": "email"}
_MAILS: Final = {
    "invoiceIssued": "Invoices", "invoicePaid": "Receipts", "renewalReminder": "Reminders of renewals",
    "lowBalance": "Low balance",
}  # fmt: skip


class CustomerForm(sections.AddressForm):
    """A buyer."""

    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX, help_text="As it stands on invoices.")
    email = forms.EmailField(label="Email", help_text="Bills go there. One customer per address.")
    phone = forms.CharField(label="Phone", required=False, max_length=PHONE_LENGTH_MAX)
    external_id = forms.CharField(
        label="External ID",
        required=False,
        max_length=EXTERNAL_ID_LENGTH_MAX,
        widget=forms.TextInput(attrs=PLAIN),
        help_text="What your own system calls this customer.",
    )
    tax_id = forms.CharField(
        label="VAT id or tax number",
        required=False,
        max_length=TAX_ID_LENGTH_MAX,
        widget=forms.TextInput(attrs=PLAIN),
        help_text="With its country’s letters where it is a VAT id of the EU: FR40303265045.",
    )
    tax_rate = forms.DecimalField(
        label="Tax rate of their own",
        required=False,
        min_value=0,
        max_value=100,
        max_digits=7,
        decimal_places=4,
        help_text="Percent, on everything that has no rate of its own. 0: none; an exemption is stated in the "
        "subscription. Empty: as it is decided for where they are.",
    )
    net_days = forms.IntegerField(
        label="Days to pay",
        required=False,
        min_value=0,
        max_value=NET_DAYS_MAX,
        help_text="After an invoice is issued. Empty: as all of your customers.",
    )
    mails = forms.MultipleChoiceField(
        label="Emails they get",
        required=False,
        choices=[(name, _MAILS[name]) for name in NOTIFICATIONS],
        widget=forms.CheckboxSelectMultiple,
        help_text="Of failed payments and unpaid invoices they always hear.",
    )

    def __init__(self, data: Any = None, *, customer: Customer | None, net_days: int | None) -> None:
        """Show a customer, with their ``tax_rates`` and in how many days they pay; None: a new one."""
        initial: dict[str, Any] = {"mails": list(NOTIFICATIONS), "net_days": net_days}
        if customer is not None:
            columns = ("name", "email", "phone", "external_id", "tax_id")
            wanted = dict.fromkeys(NOTIFICATIONS, True) | customer.notification_settings
            initial |= {name: getattr(customer, name) for name in columns} | dict(customer.address)
            initial["mails"] = [name for name in NOTIFICATIONS if wanted[name]]
            initial["tax_rate"] = (getattr(customer, "tax_rates", None) or {}).get(DEFAULT_RATE)
        super().__init__(data, initial=initial)
        if customer is None:
            del self.fields["mails"]

    def clean(self) -> dict[str, Any]:
        """Look at the tax id together with the country."""
        said = super().clean() or {}
        verdict = tax_ids.verdict(said.get("tax_id", ""), said.get("country", ""))
        if not verdict["valid"]:
            self.add_error("tax_id", verdict["message"])
        return said

    def sections(self) -> list[Section]:
        """Divide the form as it is shown."""
        return sections.of(
            self,
            ("Who they are", "", ["name", "email", "phone", "external_id"]),
            ("Address", "Of invoices, and what tax is decided by.", ADDRESS),
            ("Taxes", "", ["tax_id", "tax_rate"]),
            ("Payment", "", ["net_days", "mails"]),
        )

    def changes(self) -> dict[str, Any]:
        """Return what was typed about an existing customer, by the names that the activity uses."""
        said = self.cleaned_data
        return {
            **{name: said[name] for name in ("name", "email", "phone", "tax_id")},
            "external_id": said["external_id"] or None,
            "address": self.address(),
            "default_rate": said["tax_rate"],
            "notification_settings": {name: name in said["mails"] for name in NOTIFICATIONS},
        }
