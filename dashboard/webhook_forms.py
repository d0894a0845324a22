"""The forms of webhooks: an endpoint, how long its secrets overlap, and what lists are narrowed to."""

from typing import Any, Final

from django import forms

from dashboard.reads import webhooks
from merchants import outbound
from merchants.webhooks import catalogue

OVERLAPS: Final = {0: "At once", 1: "In an hour", 24: "In a day", 168: "In a week"}
REPLAYS: Final = {1: "The last hour", 24: "The last day", 168: "The last week", 720: "The last 30 days"}


class EndpointForm(forms.Form):
    """Where to, and which events."""

    url = forms.CharField(
        label="URL",
        max_length=outbound.URL_LENGTH_MAX,
        help_text="An https address that leads to the internet.",
        widget=forms.URLInput(attrs={"autocomplete": "off", "placeholder": "https://"}),
    )
    description = forms.CharField(label="Description", required=False, max_length=200)
    reach = forms.ChoiceField(
        label="Events",
        choices=[("all", "Everything, also what is added later"), ("chosen", "Only those chosen below")],
        widget=forms.RadioSelect,
        initial="all",
    )
    event_types = forms.MultipleChoiceField(required=False, choices=[(each.name, "") for each in catalogue.CHOOSABLE])

    def clean(self) -> dict[str, Any]:
        """Have some chosen where only some are wanted."""
        cleaned = super().clean() or {}
        if cleaned.get("reach") == "chosen" and not cleaned.get("event_types"):
            self.add_error("reach", "Choose at least one event, or everything.")
        if cleaned.get("reach") == "all":
            cleaned["event_types"] = []
        return cleaned


class RotateForm(forms.Form):
    """For how long the old secret signs beside the new one."""

    overlap = forms.TypedChoiceField(
        label="The old secret ends", coerce=int, choices=[*OVERLAPS.items()], initial=24, widget=forms.RadioSelect
    )


class ReplayForm(forms.Form):
    """Of which time things are sent again."""

    hours = forms.TypedChoiceField(label="What happened in", coerce=int, choices=[*REPLAYS.items()], initial=24)
    only_failed = forms.BooleanField(
        label="Only what failed or was missed",
        required=False,
        initial=True,
        help_text="Without it, what was delivered is sent again as well.",
    )


class DeliveryFilter(forms.Form):
    """What an endpoint's deliveries are narrowed to."""

    state = forms.ChoiceField(label="State", required=False, choices=[("", "Any state"), *webhooks.STATES.items()])


class EventLogFilter(forms.Form):
    """What the log of events is narrowed to."""

    type = forms.ChoiceField(
        label="Type", required=False, choices=[("", "Any type"), *((each.name, each.name) for each in catalogue.TYPES)]
    )


def groups() -> list[tuple[str, list[catalogue.EventType]]]:
    """Group the types that may be chosen by what they are about, for a picker."""
    found: dict[str, list[catalogue.EventType]] = {}
    for each in catalogue.CHOOSABLE:
        found.setdefault(each.resource.replace("_", " ").capitalize(), []).append(each)
    return list(found.items())
