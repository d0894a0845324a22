"""The words every template speaks: icons, badges, money, times, cards, pagers. A built-in library: never loaded."""

from datetime import datetime
from functools import lru_cache
from html import unescape
from typing import Any

import lucide
import msgspec
from django import template
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from ui import fmt
from ui.paging import Page

register = template.Library()

_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode

THEMES = ("light", "dark")
TONES = {
    "active": "ok", "charged": "ok", "paid": "ok", "success": "ok", "captured": "ok", "live": "ok",
    "delivered": "ok", "enabled": "ok", "sent": "ok", "completed": "ok", "failing": "bad",
    "held": "info", "open": "info", "reserved": "info", "reservation": "info", "draft": "info", "calculating": "info",
    "issued": "warn", "pending": "warn", "pending_payment": "warn", "expiring": "warn", "test": "warn",
    "succeeded": "ok", "won": "ok", "processing": "info", "requires_action": "warn", "unknown": "warn",
    "declined": "bad", "lost": "bad", "in_progress": "info", "requested": "warn", "approved": "info",
    "failed": "bad", "payment_failed": "bad", "overdue": "bad", "revoked": "bad", "rejected": "bad",
}  # fmt: skip
"""What colour a state has; states that are simply over have none."""

register.filter("money", fmt.money)
register.filter("charge", fmt.charge)
register.filter("exact", fmt.exact)
register.filter("stat", fmt.stat)
register.filter("price", fmt.price)
register.filter("qty", fmt.qty)
register.filter("units", fmt.units)
register.filter("one", fmt.one)


@lru_cache(maxsize=256)
def _drawn(name: str, size: int) -> SafeString:
    return mark_safe(lucide._render_icon(name, size, aria_hidden="true"))  # noqa: S308  (drawings of the package)


@register.simple_tag
def icon(name: str, size: int = 16) -> SafeString:
    """Draw an icon of the set, hidden from screen readers: the words beside it say what it means."""
    return _drawn(str(name), size)


@register.simple_tag
def badge(state: str, label: str = "") -> SafeString:
    """A state as a word in its colour."""
    words = label or state.replace("_", " ").capitalize()
    return format_html('<span class="badge {}">{}</span>', TONES.get(state, "mute"), words)


@register.simple_tag
def delta(change: fmt.Delta) -> SafeString:
    """A change against the span before."""
    return format_html('<span class="delta {}">{}</span>', change.direction, change.text)


@register.filter
def figure(aligned: fmt.Aligned) -> SafeString:
    """One amount of an aligned column, the filling zeros dimmed."""
    return (
        format_html('{}<span class="pad">{}</span>', *aligned) if aligned.padding else format_html("{}", aligned.text)
    )


@register.simple_tag
def when(at: datetime | None, style: str = "moment") -> SafeString:
    """A time in the page's zone: ``moment``, ``clock``, ``minute``, ``day``; a dash where there is none."""
    printed = {"moment": fmt.moment, "clock": fmt.clock, "minute": fmt.minute, "day": fmt.day}[style]
    return _time(at, printed(timezone.localtime(at))) if at else format_html("{}", fmt.NONE)


@register.simple_tag
def ago(at: datetime | None, now: datetime) -> SafeString:
    """How long ago something happened, the exact time in its title."""
    return _time(at, fmt.ago(at, now)) if at else format_html("{}", fmt.NONE)


def _time(at: datetime, text: str) -> SafeString:
    local = timezone.localtime(at)
    title = f"{fmt.day(local)}, {local:%H:%M:%S %Z}"
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(), title, text)


@register.simple_tag
def copy(value: str, label: str = "") -> SafeString:
    """A value in full with a button that copies it; ``label`` says what is copied."""
    return format_html(
        '<span class="copy"><code>{}</code><button type="button" data-copy="{}" aria-label="Copy {}">'
        '<span class="todo">{}</span><span class="done">{}</span></button></span>',
        value, value, label or value, icon("copy", 14), icon("check", 14),
    )  # fmt: skip


@register.simple_block_tag
def code(content: str, label: str) -> SafeString:
    """A block of code to read and copy."""
    text = unescape(content).strip("\n")  # what was printed inside is escaped already, what was typed is not
    return format_html(
        '<div class="code"><pre tabindex="0" role="region" aria-label="{}">{}</pre><span class="copy">'
        '<button type="button" data-copy="{}" aria-label="Copy {}"><span class="todo">{}</span>'
        '<span class="done">{}</span></button></span></div>',
        label, text, text, label, icon("copy", 14), icon("check", 14),
    )  # fmt: skip


@register.filter
def as_json(value: Any) -> str:
    """Indented JSON for people to read, numbers as they are."""
    return msgspec.json.format(_encode(value), indent=2).decode()


@register.filter
def spoken(value: Any) -> str:
    """A value of a JSON document in a line of text: words as they are, lists by commas, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return _encode(value).decode()


@register.simple_block_tag
def nothing(content: str, icon_name: str, title: str) -> SafeString:
    """What stands where nothing is yet: what will be here, when, and one thing to do."""
    return format_html('<div class="empty">{}<h2>{}</h2>{}</div>', icon(icon_name, 28), title, content)


@register.filter
def initials(name: str) -> str:
    """One or two letters that stand for a name in its mark."""
    words = [word for word in name.split() if word[0].isalnum()]
    letters = words[0][0] + words[-1][0] if len(words) > 1 else name.strip()[:2]
    return letters.upper()


@register.simple_tag(takes_context=True)
def theme(context: template.Context) -> SafeString:
    """The chosen theme as an attribute of the page, from its cookie; none means the system's."""
    request: HttpRequest | None = context.get("request")
    chosen = request.COOKIES.get("theme") if request else None
    return format_html(' data-theme="{}"', chosen) if chosen in THEMES else mark_safe("")


@register.simple_tag(takes_context=True)
def pager(context: template.Context, page: Page[Any], noun: str, plural: str = "", export: str = "") -> SafeString:
    """Newer and older, as links that keep the filters; says so when this is everything.

    ``export`` is the path of the whole list as a file.
    """
    query = context["request"].GET.copy()
    query.pop("cursor", None)
    link = format_html('<a class="btn small" href="{}?{}">Export CSV</a>', export, query.urlencode())
    file = link if export and page.rows else ""
    if page.is_only_page and not page.rows:
        return SafeString("")  # what stands in the list's place says so
    if page.is_only_page:
        many = f"{len(page.rows):,} {noun if len(page.rows) == 1 else plural or f'{noun}s'}"
        return format_html('<div class="pager"><span>{}</span>{}</div>', many, file)
    links = []
    for label, cursor in (("Newer", page.newer), ("Older", page.older)):
        if cursor:
            query["cursor"] = cursor
            links.append((query.urlencode(), label))
    buttons = format_html_join(" ", '<a class="btn small" href="?{}">{}</a>', links)
    buttons = format_html("{} {}", file, buttons) if file else buttons
    return format_html('<nav class="pager" aria-label="Pages"><span>Newest first</span><span>{}</span></nav>', buttons)
