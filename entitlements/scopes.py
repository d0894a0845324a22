"""What a budget watches: every call of a customer's, or those that carry an attribute. Pure.

Calls carry attributes in ``metadata``: usage events in theirs, those that draw from a reservation in the reservation's.
"""

from collections.abc import Mapping

ATTRIBUTES = ("account", "user", "agent", "session")  # from the widest to the narrowest

Attributes = Mapping[str, str] | None


def value_of(attribute: str | None, value: str | None, said: Attributes) -> str | None:
    """Name the counter of a budget that a call falls under, ``""`` where there is but one; None where it does not.

    Args:
        attribute: what the budget watches; None for every call.
        value: the one value of it that is watched, or None for each by itself.
        said: the call's attributes. An empty one says nothing.
    """
    if attribute is None:
        return ""
    found = said.get(attribute) if said else None
    if not found or value not in (None, found):
        return None
    return found if value is None else ""
