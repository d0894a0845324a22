"""The page that asks once more before something is done that cannot be undone."""

from django.http import HttpResponse

from dashboard.access import SeatedRequest
from ui import pages


def ask(request: SeatedRequest, *, nav: str, title: str, lead: str, text: str, verb: str, back: str) -> HttpResponse:
    """Show what is about to happen, a button that does it, and the way back to ``back``."""
    words = {"title": title, "lead": lead, "text": text, "verb": verb}
    return pages.answer(request, "dashboard/confirm.html", {"nav": nav, "seat": request.seat, "back": back, **words})
