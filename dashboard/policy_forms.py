"""The form of how invoices are issued and collected."""

from typing import Any, Final

from django import forms

from billing.policies import DAYS_MAX, DRAFT_HOURS_MAX, NET_DAYS_MAX, STEPS_MAX, FinalAction, Policy
from dashboard import sections
from dashboard.sections import Section

AT_ONCE, DRAFT = "at_once", "draft"
FINAL_ACTIONS: Final = {
    FinalAction.NONE.value: "Nothing: it stays owed",
    FinalAction.PAUSE.value: "Pause the subscription until it is paid",
    FinalAction.TERMINATE.value: "End the subscription",
    FinalAction.UNCOLLECTIBLE.value: "Write the invoice off",
}
# The form's fields by the names that the activity uses in what it refuses.
NAMES: Final = {
    "netDays": "net_days", "draftHours": "draft_hours", "retryDays": "retry_days", "reminderDays": "reminder_days",
}  # fmt: skip
_LENGTH_MAX = 120
_MINUS = "\N{MINUS SIGN}"


class DaysField(forms.CharField):
    """Whole days, typed one after the other: ``-3, 3, 10``."""

    def __init__(self, *, least: int, **options: Any) -> None:
        super().__init__(required=False, max_length=_LENGTH_MAX, **options)
        self.least = least
        self.widget.attrs |= {"autocomplete": "off", "inputmode": "text" if least < 0 else "numeric"}

    def prepare_value(self, value: Any) -> Any:
        """Write days as they are typed."""
        return ", ".join(str(day) for day in value) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> Any:
        """Read days; raises ValidationError for anything else."""
        words = (super().to_python(value) or "").replace(_MINUS, "-").replace(",", " ").split()
        try:
            days = [int(word) for word in words]
        except ValueError:
            raise forms.ValidationError("Write whole days with commas between them, like 1, 3, 5.") from None
        if len(days) > STEPS_MAX:
            raise forms.ValidationError(f"At most {STEPS_MAX} days.")
        if days != sorted(set(days)):
            raise forms.ValidationError("Each day must be later than the one before.")
        if not all(self.least <= day <= DAYS_MAX for day in days):
            raise forms.ValidationError(f"Days are from {self.least} to {DAYS_MAX}.")
        return days


class PolicyForm(forms.Form):
    """How invoices are issued and collected."""

    drafts = forms.ChoiceField(
        label="When a period is over",
        choices=[(AT_ONCE, "Issue the invoice"), (DRAFT, "Hold it as a draft to be looked at")],
        widget=forms.RadioSelect,
        help_text="A draft takes no more usage. Lines can be added by hand before it is issued.",
    )
    draft_hours = forms.IntegerField(
        label="Issue drafts by themselves after",
        required=False,
        min_value=1,
        max_value=DRAFT_HOURS_MAX,
        help_text="Hours. Empty: only by hand.",
    )
    net_days = forms.IntegerField(
        label="Days to pay",
        min_value=0,
        max_value=NET_DAYS_MAX,
        help_text="0: due when issued. A customer may have terms of their own.",
    )
    retry_days = DaysField(
        label="Try the card again after",
        least=1,
        help_text=f"Days after the first try, which is made when the invoice is issued. At most {STEPS_MAX}; empty: "
        "never again. Only of subscriptions that are charged automatically.",
    )
    reminder_days = DaysField(
        label="Remind by email after",
        least=-DAYS_MAX,
        help_text="Days after the invoice was due; below zero before that: −3, 3, 10. Empty: never.",
    )
    final_action = forms.ChoiceField(
        label="When nothing helped",
        choices=list(FINAL_ACTIONS.items()),
        widget=forms.RadioSelect,
        help_text="After the last try and reminder, at the earliest a day after the invoice was due.",
    )

    def __init__(self, data: Any = None, *, policy: Policy) -> None:
        initial = {name: getattr(policy, name) for name in self.base_fields if hasattr(policy, name)}
        initial["drafts"] = DRAFT if policy.holds_drafts else AT_ONCE
        super().__init__(data, initial=initial)

    def sections(self) -> list[Section]:
        """Divide the form as it is shown."""
        return sections.of(
            self,
            ("Issuing", "", ["drafts", "draft_hours", "net_days"]),
            ("Collecting", "All of it ends when the invoice is paid.", ["retry_days", "reminder_days", "final_action"]),
        )

    def changes(self) -> dict[str, Any]:
        """Return what was typed, by the names that the activity uses."""
        said = dict(self.cleaned_data)
        drafts = said.pop("drafts")
        return said | {"holds_drafts": drafts == DRAFT}
