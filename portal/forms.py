"""The forms of the portal and of the hosted pages."""

from typing import Any

from django import forms

from customers import addresses, countries, tax_ids
from customers.registry import TAX_ID_LENGTH_MAX
from merchants import ids
from portal.checkout import Page, token_of


def _amount(label: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        min_value=0,
        max_digits=21,
        decimal_places=9,
        widget=forms.NumberInput(attrs={"placeholder": "25.00", "inputmode": "decimal", "step": "any"}),
    )


class NewLimit(forms.Form):
    """A limit that a customer sets for themselves."""

    amount = _amount("Spend at most")
    window = forms.ChoiceField(
        label="In",
        choices=[("hour", "An hour"), ("day", "A day"), ("month", "A month"), ("total", "All time")],
        initial="month",
    )
    scope = forms.ChoiceField(
        label="For",
        choices=[
            ("customer", "Everything"),
            ("user", "Each user"),
            ("agent", "Each agent"),
            ("session", "Each session"),
        ],
    )


class ChangedLimit(forms.Form):
    """Another amount for a limit."""

    amount = _amount("Limit")


class Withdrawal(forms.Form):
    """What a customer takes back of their balance."""

    amount = _amount("Amount")
    note = forms.CharField(label="Where to, if not to your card (optional)", required=False, max_length=255)
    key = forms.CharField(max_length=64, widget=forms.HiddenInput)  # a form sent twice takes once


class AutoTopUp(forms.Form):
    """What a customer agrees to be charged without being asked each time."""

    threshold = _amount("When less than this is available")
    amount = _amount("Add")
    card = forms.ChoiceField(label="Charge", required=False)
    limit_amount = _amount("At most")
    limit_period = forms.ChoiceField(
        label="In", choices=[("day", "A day"), ("week", "A week"), ("month", "A month")], required=False
    )
    consent = forms.BooleanField(
        label="I agree that this card is charged automatically, as described here.",
        error_messages={"required": "Say that you agree, or nothing is charged automatically."},
    )

    def __init__(self, data: Any = None, *, cards: list[tuple[str, str]], currency: str, **options: Any) -> None:
        super().__init__(data, **options)
        for name in ("threshold", "amount", "limit_amount"):
            self.fields[name].label = f"{self.fields[name].label} ({currency})"
        self.fields["limit_amount"].required = False
        self.fields["limit_amount"].help_text = "Left empty: no limit."
        self.fields["card"].choices = [("", "My default card"), *cards]  # type: ignore[attr-defined]


# --- hosted pages ----------------------------------------------------------------------------------------


def _country() -> forms.ChoiceField:
    return forms.ChoiceField(
        label="Country",
        choices=[("", "Choose a country"), *countries.BY_NAME],
        widget=forms.Select(attrs={"autocomplete": "country"}),
    )


def _tax_id(*, required: bool) -> forms.CharField:
    return forms.CharField(
        label="VAT id or tax number",
        required=required,
        max_length=TAX_ID_LENGTH_MAX,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=("" if required else "For companies. ")
        + "It stands on your invoices. With its country’s letters where it is a VAT id of the EU: FR40303265045.",
    )


def _check_tax_id(form: forms.Form, tax_id: str, country: str) -> None:
    verdict = tax_ids.verdict(tax_id, country)
    if not verdict["valid"]:
        form.add_error("tax_id", verdict["message"])


class Card(forms.Form):
    """The card that pays: a saved one, one of the test provider's, or whatever is given on the provider's own page."""

    method = forms.CharField(required=False, max_length=40)
    number = forms.CharField(
        label="Card number",
        required=False,
        max_length=40,
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "autocomplete": "off", "placeholder": "4242 4242 4242 4242", "list": "cards"}
        ),
    )

    def choice(self, page: Page) -> dict[str, Any] | None:
        """Return the chosen card for the payment; None where there is none, which the form then says."""
        if not self.is_valid():
            return None
        chosen = self.cleaned_data["method"]
        if chosen:
            known = {ids.text("pm", method.id): method.id for method in page.methods}
            if chosen in known:
                return {"method_id": known[chosen]}
            self.add_error(None, "Choose a card.")
            return None
        if not page.takes_test_card:
            return {}
        token = token_of(self.cleaned_data["number"])
        if token is None:
            self.add_error("number", "This is not one of the test cards. No real card works here.")
            return None
        return {"source": token}


class Payer(forms.Form):
    """Who pays through a link."""

    name = forms.CharField(label="Your name", max_length=200, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    email = forms.EmailField(
        label="Your email",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        help_text="So that the seller can reach you about this payment.",
    )


class Acceptance(forms.Form):
    """Who subscribes, as an authorization asks it; the e-mail address is the link's."""

    name = forms.CharField(
        label="Your name or company", max_length=200, widget=forms.TextInput(attrs={"autocomplete": "organization"})
    )
    line1 = forms.CharField(
        label="Street", required=False, max_length=200, widget=forms.TextInput(attrs={"autocomplete": "address-line1"})
    )
    city = forms.CharField(
        label="City", required=False, max_length=100, widget=forms.TextInput(attrs={"autocomplete": "address-level2"})
    )
    state = forms.CharField(
        label="State or region",
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "address-level1"}),
    )
    zipCode = forms.CharField(  # noqa: N815  (as addresses name it)
        label="Postal code",
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "postal-code"}),
    )
    country = _country()
    tax_id = _tax_id(required=False)
    accepted = forms.BooleanField(label="I accept the plan and its prices")

    def clean(self) -> dict[str, Any]:
        """Look at the tax id together with the country."""
        said = super().clean() or {}
        _check_tax_id(self, said.get("tax_id", ""), said.get("country", ""))
        return said

    def about(self) -> dict[str, Any]:
        """Return who subscribes, for the activity; raises ValidationFailed for an address that is none."""
        said = self.cleaned_data
        parts = {part: said.get(part, "") for part in ("line1", "city", "state", "zipCode", "country")}
        return {"name": said["name"], "address": addresses.parse(parts, "address"), "tax_id": said["tax_id"]}


class Company(forms.Form):
    """The company that somebody buys for who makes a first payment; the country is asked for where none is known."""

    name = forms.CharField(
        label="Company", max_length=200, widget=forms.TextInput(attrs={"autocomplete": "organization"})
    )
    country = _country()
    tax_id = _tax_id(required=True)

    def __init__(self, data: Any = None, *, country: str) -> None:
        super().__init__(data)
        self.known = country
        if country:
            del self.fields["country"]

    def clean(self) -> dict[str, Any]:
        """Look at the tax id together with the country."""
        said = super().clean() or {}
        said.setdefault("country", self.known)
        _check_tax_id(self, said.get("tax_id", ""), said["country"])
        return said


class AddMoney(forms.Form):
    """How much a customer adds to the own balance."""

    amount = forms.DecimalField(
        label="Amount",
        min_value=1,
        max_digits=12,
        decimal_places=2,
        widget=forms.NumberInput(attrs={"placeholder": "25.00", "inputmode": "decimal", "step": "any"}),
    )


class Dispute(forms.Form):
    """What a customer says is wrong with a charge."""

    message = forms.CharField(
        label="What is wrong with it?",
        min_length=10,
        max_length=1_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="10 to 1,000 characters.",
    )
