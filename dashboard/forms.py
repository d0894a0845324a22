"""The forms of the dashboard: they read what a person typed; whether it may be is said by the activities."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django import forms

from billing import money, plans
from billing.models import PaymentTerm
from merchants.errors import FieldError, ServiceError, ValidationFailed
from merchants.models import Product, Role
from metering import matching, paths
from metering.expressions import limits
from metering.models import Aggregation

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 2000
UNIT_LENGTH_MAX = 40
EVENT_TYPE_LENGTH_MAX = 120
REASON_LENGTH_MAX = 1_000
UNIT_PRICE_DIGITS_MAX = 21
UNIT_PRICE_DECIMALS_MAX = 9
ROLES: Final = {
    Role.OWNER.value: "Owner: everything, and who owns it",
    Role.ADMIN.value: "Admin: everything but the organization itself",
    Role.DEVELOPER.value: "Developer: catalogue, customers, usage and API keys",
    Role.ANALYST.value: "Analyst: reads, changes nothing",
}
FEE_TERMS: Final = [
    (PaymentTerm.IN_ADVANCE.value, "When the period starts"),
    (PaymentTerm.IN_ARREARS.value, "On the invoice after the period"),
]
PASSWORD_HELP: Final = "At least 12 characters."  # noqa: S105  (a hint, not a password)


class MerchantChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A choice among a merchant's own rows; anything else in the request is no choice at all."""

    def label_from_instance(self, obj: Any) -> str:
        return str(obj.name)


def offer(field: Any, offers: Sequence[Any], empty_label: str) -> None:
    """Have a field be a choice among offers, each with a ``key`` and a ``label``; anything else is no choice at all."""
    known = {each.key: each for each in offers}
    field.choices = [("", empty_label), *((each.key, each.label) for each in offers)]
    field.coerce = known.__getitem__


class Registration(forms.Form):
    """A new merchant: the organization and the person who owns it."""

    organization = forms.CharField(
        label="Organization", max_length=NAME_LENGTH_MAX, widget=forms.TextInput(attrs={"autocomplete": "organization"})
    )
    email = forms.EmailField(label="Work email", widget=forms.EmailInput(attrs={"autocomplete": "email"}))
    password = forms.CharField(
        label="Password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=PASSWORD_HELP,
    )


class NewSubscription(forms.Form):
    """A customer's agreement to a plan, starting now."""

    plan = forms.TypedChoiceField(label="Plan")

    def __init__(self, data: Any = None, *, plans: Sequence[Any]) -> None:
        super().__init__(data)
        offer(self.fields["plan"], plans, "Choose a plan")


class TopUp(forms.Form):
    """Test money for a wallet."""

    amount = forms.DecimalField(label="Amount", min_value=0, max_digits=12, decimal_places=3)
    key = forms.CharField(max_length=64, widget=forms.HiddenInput)  # a form sent twice adds once

    def __init__(self, data: Any = None, *, currency: str, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["amount"].label = f"Amount in {currency}"


class PortalLink(forms.Form):
    """How long a link to a customer's portal works."""

    minutes = forms.TypedChoiceField(
        label="Works for",
        coerce=int,
        choices=[(10, "10 minutes"), (60, "1 hour"), (24 * 60, "1 day"), (7 * 24 * 60, "7 days")],
        initial=10,
    )


class NewProduct(forms.Form):
    """Something to sell."""

    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX)
    description = forms.CharField(
        label="Description",
        required=False,
        max_length=DESCRIPTION_LENGTH_MAX,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Customers may read this.",
    )


def _expression(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=limits.SOURCE_CHARS_MAX,
        help_text=help_text,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocomplete": "off", "class": "source"}),
    )


class NewMetric(forms.Form):
    """Something that is counted."""

    product = MerchantChoice(queryset=Product.objects.none(), label="Product", empty_label="Choose a product")
    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX, help_text="Such as “Premium submissions”.")
    unit = forms.CharField(
        label="Unit", max_length=UNIT_LENGTH_MAX, help_text="What one is called: submission, millisecond, token."
    )
    aggregation = forms.ChoiceField(
        label="Aggregation",
        choices=[
            (Aggregation.SUM.value, "Sum of quantities"),
            (Aggregation.COUNT.value, "Count of events"),
            (Aggregation.MAX.value, "Highest value"),
            (Aggregation.MIN.value, "Lowest value"),
            (Aggregation.AVG.value, "Average"),
            (Aggregation.LATEST.value, "Latest value"),
            (Aggregation.UNIQUE_COUNT.value, "Number of different values"),
            (Aggregation.PERCENTILE.value, "Percentile of the values"),
            (Aggregation.TIME_WEIGHTED_SUM.value, "What is held, on average over time"),
        ],
        widget=forms.RadioSelect,
        initial=Aggregation.SUM.value,
    )
    percentile = forms.DecimalField(
        label="Percentile",
        required=False,
        max_digits=7,
        decimal_places=4,
        min_value=0,
        max_value=100,
        help_text="Only for a percentile: 95 is the value that 95 of 100 do not exceed.",
    )
    event_type = forms.CharField(
        label="Event type",
        required=False,
        max_length=EVENT_TYPE_LENGTH_MAX,
        help_text="Only where you send events rather than quantities: the type of those it counts.",
    )
    value_property = forms.CharField(
        label="Value",
        required=False,
        max_length=paths.LENGTH_MAX,
        help_text="Where in an event’s data the quantity is: $.usage.tokens. Not needed for a count.",
    )
    value_expression = _expression(
        "Or calculate the value", "Instead of a path: data.input_tokens + 4 * data.output_tokens."
    )
    filter = _expression("Only count events for which", "Such as: data.tokens > 0 && metadata.tier != 'free'.")
    description = forms.CharField(
        label="Description",
        required=False,
        max_length=DESCRIPTION_LENGTH_MAX,
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def clean_value_property(self) -> str:
        """Check that it is a path."""
        path: str = self.cleaned_data["value_property"]
        try:
            return matching.read_path(path, "Value") if path else ""
        except ValidationFailed as refused:
            raise forms.ValidationError(refused.message) from refused

    def __init__(self, data: Any = None, *, merchant_id: Any, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        self.fields["product"].queryset = Product.objects.filter(merchant_id=merchant_id).order_by("name")  # type: ignore[attr-defined]


class NewPlan(forms.Form):
    """A plan of a product, without prices yet."""

    product = MerchantChoice(queryset=Product.objects.none(), label="Product", empty_label="Choose a product")
    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX, help_text="Such as “Pay as you go”.")
    currency = forms.CharField(label="Currency", min_length=3, max_length=3, initial="USD")
    billing_cadence = forms.ChoiceField(
        label="Billed every",
        choices=[("P1M", "Month"), ("P3M", "Quarter"), ("P1Y", "Year")],
        widget=forms.RadioSelect,
        initial="P1M",
    )
    trial_days = forms.IntegerField(
        label="Trial days",
        required=False,
        min_value=0,
        max_value=plans.TRIAL_DAYS_MAX,
        help_text="A first period before any fee, free of charge for use. Left empty: no trial.",
    )
    trial_end = forms.ChoiceField(
        label="When a trial ends without enough balance",
        required=False,
        choices=[("invoice", "What is due is owed on the invoice"), ("terminate", "The subscription ends")],
        widget=forms.RadioSelect,
        initial="invoice",
    )

    def __init__(self, data: Any = None, *, merchant_id: Any, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        self.fields["product"].queryset = Product.objects.filter(merchant_id=merchant_id).order_by("name")  # type: ignore[attr-defined]

    def clean_currency(self) -> str:
        """Read a currency code, in capitals or not."""
        try:
            return money.currency(self.cleaned_data["currency"].upper())
        except ValidationFailed as refusal:
            raise forms.ValidationError(refusal.message) from refusal


class NewKey(forms.Form):
    """A key, for everything or for chosen resources."""

    name = forms.CharField(
        label="Name", max_length=100, help_text="Where it will be used, such as “Production server”."
    )
    reach = forms.ChoiceField(
        label="May do",
        choices=[("everything", "Everything"), ("chosen", "Only what I choose")],
        widget=forms.RadioSelect,
        initial="everything",
        help_text="Who you are on invoices, and your bank, a key may change only where that is chosen.",
    )


class RollKey(forms.Form):
    """How long the old key works beside the new one."""

    overlap = forms.TypedChoiceField(
        label="The old key keeps working for",
        coerce=int,
        choices=[(0, "No longer: end it now"), (1, "1 hour"), (24, "24 hours"), (7 * 24, "7 days")],
        initial=24,
    )


class VoidEvent(forms.Form):
    """Why an event is taken back."""

    reason = forms.CharField(label="Reason", max_length=REASON_LENGTH_MAX, help_text="Kept with the event for good.")


class AmendEvent(VoidEvent):
    """What an event should have said: a quantity of each metric that it reports."""

    def __init__(self, data: Any = None, *, uses: Sequence[tuple[str, str, str]]) -> None:
        """Ask for each of ``uses``: the metric's name, its unit, and the quantity that holds."""
        super().__init__(data)
        for place, (metric, unit, quantity) in enumerate(uses):
            self.fields[f"quantity_{place}"] = forms.CharField(
                label=metric,
                initial=quantity,
                help_text=f"Unit: {unit}." if unit else "",
                widget=forms.TextInput(attrs={"inputmode": "decimal"}),
            )
        self.order_fields([*(f"quantity_{place}" for place in range(len(uses))), "reason"])


class UsageSince(forms.Form):
    """From which day on usage is taken."""

    since = forms.DateField(
        label="Refuse usage from before",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="Events and corrections of usage before this day are refused. Empty: usage of any age is taken.",
    )


class Invite(forms.Form):
    """Somebody to invite into the team."""

    email = forms.EmailField(label="Email", help_text="The link works for this person only, once.")
    role = forms.ChoiceField(label="Role", widget=forms.RadioSelect, initial=Role.DEVELOPER.value)

    def __init__(self, data: Any = None, *, roles: Sequence[tuple[str, str]]) -> None:
        super().__init__(data)
        self.fields["role"].choices = roles  # type: ignore[attr-defined]


class ChangeRole(forms.Form):
    """What a member may do."""

    role = forms.ChoiceField(label="Role", widget=forms.RadioSelect)

    def __init__(self, data: Any = None, *, roles: Sequence[tuple[str, str]], initial: dict[str, Any]) -> None:
        super().__init__(data, initial=initial)
        self.fields["role"].choices = roles  # type: ignore[attr-defined]


class Join(forms.Form):
    """An account for somebody who was invited."""

    name = forms.CharField(
        label="Your name", max_length=NAME_LENGTH_MAX, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=PASSWORD_HELP,
    )


def refuse(form: forms.Form, refusal: ServiceError, *, request_id: str, names: Mapping[str, str] | None = None) -> None:
    """Show in a form why an activity refused it: beside the field it names, or above the form.

    Args:
        names: the form's fields by the names that the activity uses.
    """
    if isinstance(refusal, ValidationFailed):
        for fault in refusal.errors:
            field = (names or {}).get(fault["field"], fault["field"])
            form.add_error(field if field in form.fields else None, _in_words(form, field, fault))
    if not form.errors:
        form.add_error(None, f"{refusal.message} Nothing was changed. Request {request_id}")


_SAYS: Final = (" must ", " may ", " is ", " has ", " cannot ", " lies ", " needs ")  # of the field alone


def _in_words(form: forms.Form, field: str, fault: FieldError) -> str:
    """Say what is wrong with a field by its label, where the activity says it by the name that the API has for it."""
    name, message = fault["field"], fault["message"]
    if message.startswith(f"{name}: "):
        return message.removeprefix(f"{name}: ")
    said = message.removeprefix(name)
    if said.startswith(_SAYS) and field in form.fields:
        return f"{form.fields[field].label or field.capitalize()}{said.replace(' a decimal string', ' a number')}"
    return message
