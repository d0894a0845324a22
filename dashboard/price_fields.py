"""Fields that the forms of prices, fees and commitments have in common."""

from django import forms

from billing.plans import AppliesTo

APPLIES_TO = [
    (AppliesTo.NEW_SUBSCRIPTIONS.value, "New subscriptions"),
    (AppliesTo.NEXT_PERIOD.value, "All subscribers, from their next period on"),
]
TYPED_LENGTH_MAX = 40


def typed(label: str, help_text: str = "", *, required: bool = False, keypad: str = "decimal") -> forms.CharField:
    """Ask for a number as text; ``keypad`` is the kind that a phone shows for it, empty for all its keys."""
    hints = {"inputmode": keypad} if keypad else {}
    return forms.CharField(
        label=label,
        required=required,
        max_length=TYPED_LENGTH_MAX,
        help_text=help_text,
        widget=forms.TextInput(attrs={**hints, "autocomplete": "off"}),
    )


def applies_to() -> forms.ChoiceField:
    """Ask whom an edit is for."""
    first, *_ = APPLIES_TO
    return forms.ChoiceField(
        label="For",
        choices=APPLIES_TO,
        widget=forms.RadioSelect,
        initial=first[0],
        help_text="Whoever is subscribed keeps the price they have until they are moved.",
    )
