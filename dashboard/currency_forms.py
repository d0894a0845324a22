"""The currencies in a form for a price: the plan's own, and others that the price has figures for.

Everything works without scripts: the form is posted again, with one currency more or less.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django import forms

from billing import currencies, money
from dashboard.forms import refuse as refuse_form
from merchants.errors import ServiceError, ValidationFailed

LISTED, ADD, ADDED, DROP = "currencies", "add", "add_currency", "drop"
FIRST: Final = ("EUR", "USD", "GBP")  # to choose from; the others follow by their codes


def chosen(typed: Mapping[str, Any], known: Sequence[str], own: str) -> list[str]:
    """Return the currencies that a form has figures for beside its own: as it was sent, with one more or less.

    Args:
        known: those there are before anything was sent.
    """
    listed = str(typed[LISTED]).split(",") if LISTED in typed else list(known)
    if ADD in typed:
        listed.append(str(typed.get(ADDED, "")))
    others = [each for each in dict.fromkeys(listed) if each in money.EXPONENTS and each != own]
    return [each for each in others if each != typed.get(DROP)][: currencies.OPTIONS_MAX]


def spare(own: str, others: Sequence[str]) -> list[str]:
    """List the currencies that can be added."""
    return [each for each in dict.fromkeys([*FIRST, *sorted(money.EXPONENTS)]) if each not in (own, *others)]


def is_asking(typed: Mapping[str, Any]) -> bool:
    """Tell whether a form was sent for one currency more or less, and not to be saved."""
    return ADD in typed or DROP in typed


def name_in(currency: str, name: str) -> str:
    """Return the name of a field in another currency."""
    return f"{currency}-{name}"


class Amounts(forms.Form):
    """A form of one amount, which there is once more for every other currency."""

    amount_name: ClassVar[str]

    def __init__(
        self, data: Any = None, *, own: str, known: Sequence[str] = (), initial: Mapping[str, Any] | None = None
    ) -> None:
        """Ask for the amount in each currency.

        Args:
            known: the currencies beside the plan's own that are asked for before anything was sent.
        """
        asks = data is not None and is_asking(data)
        super().__init__(None if asks else data, initial=data if asks else initial)  # type: ignore[arg-type]
        self.own, self.currencies = own, chosen({} if data is None else data, known, own)
        self.spare = spare(own, self.currencies)
        amount = self.base_fields[self.amount_name]
        if self.currencies:
            self.fields[self.amount_name].label = f"{amount.label} in {own}"
        names = list(self.fields)
        at = names.index(self.amount_name) + 1
        for currency in self.currencies:
            field = type(amount).__deepcopy__(amount, {})
            field.label, field.help_text = f"{amount.label} in {currency}", ""
            self.fields[name_in(currency, self.amount_name)] = field
        self.order_fields([*names[:at], *(name_in(each, self.amount_name) for each in self.currencies), *names[at:]])

    def amounts(self) -> dict[str, str]:
        """Return what was typed for each other currency."""
        found = {each: self.cleaned_data[name_in(each, self.amount_name)] for each in self.currencies}
        return {currency: amount if isinstance(amount, str) else f"{amount:f}" for currency, amount in found.items()}


def refuse_amounts(form: Amounts, refusal: ServiceError, *, member: str, request_id: str) -> None:
    """Show in a form of amounts why they were refused, beside the currency that it is about."""
    names = {f"properties.{member}": form.amount_name, "paymentTerm": "payment_term"}
    for each in form.currencies:
        names[f"currencyOptions.{each}.properties.{member}"] = name_in(each, form.amount_name)
    refuse_form(form, refusal, request_id=request_id, names=names)


def refuse_blocks(form: Any, refusal: ServiceError, *, request_id: str) -> None:
    """Show in the form of a metric's price why it was refused, in the block of the currency that it is about."""
    if isinstance(refusal, ValidationFailed):
        for block in form.others:
            at = f"currencyOptions.{block.currency}."
            own = [fault for fault in refusal.errors if fault["field"].startswith(at)]
            if own:
                found = [{**fault, "field": fault["field"].removeprefix(at)} for fault in own]
                said = ValidationFailed(refusal.message, errors=found)  # type: ignore[arg-type]
                refuse_form(block, said, request_id=request_id, names=block.names())
        if any(block.errors for block in form.others):
            return
    refuse_form(form, refusal, request_id=request_id, names=form.names())
