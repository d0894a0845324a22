"""The forms that set and change a customer's budgets."""

from collections.abc import Sequence
from typing import Any

from django import forms

from dashboard.forms import NAME_LENGTH_MAX, UNIT_PRICE_DECIMALS_MAX, UNIT_PRICE_DIGITS_MAX

VALUE_LENGTH_MAX = 500


def _limit() -> forms.DecimalField:
    return forms.DecimalField(
        label="Limit",
        min_value=0,
        max_digits=UNIT_PRICE_DIGITS_MAX,
        decimal_places=UNIT_PRICE_DECIMALS_MAX,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )


def _enforcement() -> forms.ChoiceField:
    return forms.ChoiceField(
        label="A call beyond it",
        choices=[("hard", "Is refused"), ("soft", "Goes through, and it is noted")],
        widget=forms.RadioSelect,
        initial="hard",
    )


class NewBudget(forms.Form):
    """What may be spent, by whom, and in what time."""

    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX, help_text="Such as “Each agent’s day”.")
    scope = forms.ChoiceField(
        label="Watches",
        choices=[
            ("customer", "Every call"),
            ("account", "Accounts"),
            ("user", "Users"),
            ("agent", "Agents"),
            ("session", "Sessions"),
        ],
        help_text="Calls name their account, user, agent and session in their metadata.",
    )
    value = forms.CharField(
        label="Only this one",
        required=False,
        max_length=VALUE_LENGTH_MAX,
        strip=False,
        help_text="Leave it empty, and each has the limit for itself.",
    )
    counts = forms.ChoiceField(label="Counts")
    limit = _limit()
    window = forms.ChoiceField(
        label="In",
        choices=[("hour", "An hour"), ("day", "A day"), ("month", "A month"), ("total", "All time")],
        initial="month",
    )
    enforcement = _enforcement()

    def __init__(self, data: Any = None, *, counts: Sequence[tuple[str, str]]) -> None:
        super().__init__(data)
        self.fields["counts"].choices = counts  # type: ignore[attr-defined]


class EditBudget(forms.Form):
    """What may be changed of a budget."""

    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX)
    limit = _limit()
    enforcement = _enforcement()
    enabled = forms.BooleanField(label="In force", required=False, help_text="Off, it refuses nothing, but counts.")
