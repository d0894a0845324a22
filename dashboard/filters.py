"""What lists of the dashboard are narrowed to, by the query string."""

from collections.abc import Sequence
from typing import Any

from django import forms

from dashboard.forms import NAME_LENGTH_MAX
from dashboard.reads import audit_log, disputes, events, invoices, payments, refusals, withdrawals
from ui import refused


class EventFilter(forms.Form):
    """What the event explorer is narrowed to."""

    customer = forms.ChoiceField(label="Customer", required=False)
    metric = forms.ChoiceField(label="Metric", required=False)
    status = forms.ChoiceField(label="Status", required=False, choices=[("", "Any status"), *events.STATUSES.items()])
    period = forms.ChoiceField(
        label="Period",
        required=False,
        choices=[(key, label) for key, (label, _) in events.PERIODS.items()],
    )
    q = forms.CharField(
        label="Event ID or key",
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs={"placeholder": "usg_", "autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, data: Any, *, customers: Sequence[tuple[str, str]], metrics: Sequence[tuple[str, str]]) -> None:
        super().__init__(data)
        self.fields["customer"].choices = [("", "Any customer"), *customers]  # type: ignore[attr-defined]
        self.fields["metric"].choices = [("", "Any metric"), *metrics]  # type: ignore[attr-defined]


class RefusalFilter(forms.Form):
    """What the list of refused calls is narrowed to."""

    customer = forms.ChoiceField(label="Customer", required=False)
    reason = forms.ChoiceField(label="Reason", required=False, choices=[("", "Any reason"), *refused.REASONS.items()])
    period = forms.ChoiceField(
        label="Period", required=False, choices=[(key, label) for key, (label, _) in refusals.PERIODS.items()]
    )

    def __init__(self, data: Any, *, customers: Sequence[tuple[str, str]]) -> None:
        super().__init__(data)
        self.fields["customer"].choices = [("", "Any customer"), *customers]  # type: ignore[attr-defined]


class AuditFilter(forms.Form):
    """What the audit log is narrowed to."""

    action = forms.ChoiceField(label="What", required=False, choices=[("", "Anything"), *audit_log.ACTIONS.items()])
    actor = forms.ChoiceField(label="Who", required=False, choices=[("", "Anybody"), *audit_log.ACTORS.items()])
    period = forms.ChoiceField(
        label="Period", required=False, choices=[(key, label) for key, (label, _) in audit_log.PERIODS.items()]
    )
    q = forms.CharField(
        label="Email or ID",
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


class InvoiceFilter(forms.Form):
    """What the list of invoices is narrowed to."""

    status = forms.ChoiceField(
        label="Status",
        required=False,
        choices=[("", "Any status"), *((key, label) for key, (label, _) in invoices.FILTERS.items())],
    )


class PaymentFilter(forms.Form):
    """What the list of payments is narrowed to."""

    status = forms.ChoiceField(
        label="Status",
        required=False,
        choices=[("", "Any status"), *((key, label) for key, (label, _) in payments.FILTERS.items())],
    )


class WithdrawalFilter(forms.Form):
    """What the list of withdrawals is narrowed to."""

    status = forms.ChoiceField(
        label="Status", required=False, choices=[("", "Any status"), *withdrawals.STATES.items()]
    )


class CustomerFilter(forms.Form):
    """What the list of customers is narrowed to."""

    q = forms.CharField(
        label="Name, email or external ID",
        required=False,
        max_length=NAME_LENGTH_MAX,
        widget=forms.TextInput(attrs={"autocomplete": "off", "type": "search"}),
    )


class DisputeFilter(forms.Form):
    """What the inbox of disputes is narrowed to."""

    status = forms.ChoiceField(label="Status", required=False, choices=[("", "Any status"), *disputes.STATUSES.items()])
