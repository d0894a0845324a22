"""Long forms in sections, each under a heading of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms

from customers import countries

ADDRESS = ("line1", "line2", "zipCode", "city", "state", "country")
PLAIN = {"autocomplete": "off", "spellcheck": "false"}


@dataclass(frozen=True, slots=True)
class Section:
    """Some fields of a form, and what they are about."""

    title: str
    lead: str
    fields: Sequence[forms.BoundField]


class AddressForm(forms.Form):
    """A postal address; the fields are named as its parts."""

    line1 = forms.CharField(label="Street", required=False, max_length=200)
    line2 = forms.CharField(label="More of the address", required=False, max_length=200)
    zipCode = forms.CharField(label="Postal code", required=False, max_length=20)  # noqa: N815 (a part's name)
    city = forms.CharField(label="City", required=False, max_length=100)
    state = forms.CharField(label="State or province", required=False, max_length=100)
    country = forms.ChoiceField(label="Country", required=False)

    def __init__(self, data: Any = None, files: Any = None, *, initial: dict[str, Any]) -> None:
        super().__init__(data, files, initial=initial)
        known = initial.get("country", "")
        unknown = [(known, known)] if known and known not in countries.NAMES else []
        self.fields["country"].choices = [("", "Not stated"), *unknown, *countries.BY_NAME]  # type: ignore[attr-defined]

    def address(self) -> dict[str, str]:
        """Return the parts that were given."""
        return {part: self.cleaned_data[part] for part in ADDRESS if self.cleaned_data[part]}


def of(form: forms.Form, *parts: tuple[str, str, Sequence[str]]) -> list[Section]:
    """Divide a form: titles, leads and the names of fields; a field that the form does not have is left out."""
    return [Section(title, lead, [form[name] for name in names if name in form.fields]) for title, lead, names in parts]
