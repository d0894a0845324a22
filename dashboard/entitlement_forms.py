"""The forms that make features, entitle customers to them, and grant units."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms

from dashboard.forms import NAME_LENGTH_MAX
from entitlements import templates
from entitlements.features import KEY_LENGTH_MAX
from entitlements.models import Feature

UNITS_DIGITS_MAX = 23
UNITS_DECIMALS_MAX = 9
CONFIG_LENGTH_MAX = templates.CONFIG_BYTES_MAX

PERIODS = [("P1D", "Every day"), ("P1W", "Every week"), ("P1M", "Every month"), ("P1Y", "Every year")]


def _units(label: str, help_text: str, *, required: bool = False, least: Decimal = Decimal(0)) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=required,
        min_value=least,
        max_digits=UNITS_DIGITS_MAX,
        decimal_places=UNITS_DECIMALS_MAX,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        help_text=help_text,
    )


def _instant(label: str, help_text: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text=help_text,
    )


class NewFeature(forms.Form):
    """Something of a product that customers may be entitled to."""

    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX, help_text="Such as “Priority queue”.")
    key = forms.CharField(
        label="Key",
        max_length=KEY_LENGTH_MAX,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "priority-queue"}),
        help_text="What your code asks for: lowercase letters, digits and hyphens.",
    )
    type = forms.ChoiceField(
        label="Type",
        choices=[
            (Feature.Type.BOOLEAN, "On or off"),
            (Feature.Type.STATIC, "A configuration, such as a number of seats"),
            (Feature.Type.METERED, "Units of a metric, granted and used up"),
        ],
        widget=forms.RadioSelect,
        initial=Feature.Type.METERED,
    )
    metric = forms.ChoiceField(label="Counts", required=False, help_text="Of a metered feature only.")

    def __init__(self, data: Any = None, *, metrics: Sequence[tuple[str, str]]) -> None:
        super().__init__(data)
        self.fields["metric"].choices = [("", "Nothing"), *metrics]  # type: ignore[attr-defined]


class Entitle(forms.Form):
    """A customer's entitlement to a feature; the units are those of a metered one, the configuration a static one's."""

    feature = forms.ChoiceField(label="Feature")
    period = forms.ChoiceField(
        label="Starts again", choices=PERIODS, initial="P1M", help_text="Of a metered feature: when its count resets."
    )
    units = _units("Units in each period", "Left empty, only what you grant can be used.")
    rollover = _units(
        "Of these, roll over at most", "What is left at a reset is lost beyond it. Left empty, all of it."
    )
    is_soft = forms.BooleanField(
        label="Go on beyond it", required=False, help_text="What no grant covers is charged, instead of refused."
    )
    config = forms.CharField(
        label="Configuration",
        required=False,
        max_length=CONFIG_LENGTH_MAX,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "placeholder": '{"seats": 25}'}),
        help_text="Of a static feature: a JSON object, which your code reads.",
    )
    active_to = _instant("Until", "In your organization’s time zone. Left empty, until you end it.")

    def __init__(self, data: Any = None, *, features: Sequence[tuple[str, str]]) -> None:
        super().__init__(data)
        self.fields["feature"].choices = features  # type: ignore[attr-defined]

    def clean_config(self) -> dict[str, Any]:
        """Read the configuration; nothing is an empty one."""
        text = self.cleaned_data["config"].strip()
        try:
            said = json.loads(text) if text else {}
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError("This is not JSON.", code="invalid") from error
        if not isinstance(said, dict):
            raise forms.ValidationError("Write an object: names and values in braces.", code="invalid")
        return said


class NewGrant(forms.Form):
    """Units to grant. The key is made with the form, so that sending it twice grants once."""

    key = forms.UUIDField(widget=forms.HiddenInput)
    amount = _units("Units", "They cover what is used from now on.", required=True, least=Decimal("1E-9"))
    expires_at = _instant("Expire", "In your organization’s time zone. Left empty, never.")
    priority = forms.IntegerField(
        label="Priority",
        min_value=0,
        max_value=templates.PRIORITY_MAX,
        initial=templates.PRIORITY_DEFAULT,
        help_text="The lowest is used first; of equals, what expires first.",
    )
    rollover = _units("Roll over at most", "What is left at a reset is lost beyond it. Left empty, all of it.")
