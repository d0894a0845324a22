"""The forms of payments: a refund, and a provider's keys."""

from django import forms

REASON_LENGTH_MAX = 500
_SECRET = {"autocomplete": "off", "spellcheck": "false", "class": "mono"}


class RefundForm(forms.Form):
    """How much of a payment goes back, and why."""

    amount = forms.DecimalField(
        label="Amount",
        min_value=0,
        max_digits=21,
        decimal_places=9,
        widget=forms.NumberInput(attrs={"inputmode": "decimal", "step": "any"}),
    )
    reason = forms.CharField(
        label="Reason", required=False, max_length=REASON_LENGTH_MAX, help_text="For you; the payer is not told."
    )
    key = forms.CharField(max_length=64, widget=forms.HiddenInput)  # a form sent twice gives back once


class StripeForm(forms.Form):
    """A merchant's keys at Stripe; they are never shown again."""

    secret_key = forms.CharField(
        label="Secret key",
        max_length=255,
        widget=forms.PasswordInput(attrs=_SECRET, render_value=False),
        help_text="From Stripe’s Developers, API keys. A restricted key works too: it needs to write customers, "
        "payment intents, checkout sessions and refunds, and to read disputes.",
    )
    webhook_secret = forms.CharField(
        label="Webhook signing secret",
        required=False,
        max_length=255,
        widget=forms.PasswordInput(attrs=_SECRET, render_value=False),
        help_text="Begins with whsec_. Left empty, the one that is set stays.",
    )
