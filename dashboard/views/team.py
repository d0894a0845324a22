"""Settings → Team: who belongs to it, and how people come and go."""

import logging
from smtplib import SMTPException
from typing import Any

from allauth.core import ratelimit
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.core.mail import send_mail
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from dashboard import forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.filling import sent
from dashboard.reads import team as reads
from dashboard.views.registration import BACKEND
from merchants import team
from merchants.errors import ServiceError
from merchants.models import Membership, Role, User
from merchants.team import Invitation, InvitationRefused
from ui import pages

logger = logging.getLogger(__name__)


@page("members:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Everybody in the team."""
    rows = reads.listing(organization=request.seat.organization, me=request.user)
    return pages.answer(request, "dashboard/team.html", {"nav": "team", "seat": request.seat, "members": rows})


@page("members:write", writes="members:write")
def invite(request: SeatedRequest) -> HttpResponse:
    """A form that invites somebody by e-mail."""
    form = forms.Invite(sent(request), roles=_roles(request))
    if form.is_bound and not ratelimit.consume(request, action="invite"):
        return _too_many(request)
    if form.is_valid():
        try:
            made = team.invite(
                organization=request.seat.organization,
                **form.cleaned_data,
                invited_by=request.user,
                actor=actor(request),
                now=timezone.now(),
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id)
        else:
            _send(request, made)
            return redirect(to(request, "team"))
    context = {
        "nav": "team",
        "seat": request.seat,
        "form": form,
        "title": "Invite somebody",
        "lead": f"They get a link by email that opens {request.seat.organization.name}, in test and live mode.",
        "verb": "Send invitation",
        "back": to(request, "team"),
    }
    return pages.answer(request, "dashboard/form.html", context)


@page("members:write", writes="members:write")
def member(request: SeatedRequest, member_id: str) -> HttpResponse:
    """One member: another role, or another link for somebody who has not come yet."""
    found = _member(request, member_id)
    if request.method == "POST" and "again" in request.POST:
        return _invite_again(request, found)
    form = forms.ChangeRole(sent(request), roles=_roles(request), initial={"role": found.role})
    if form.is_valid():
        try:
            team.change_role(
                organization=request.seat.organization,
                member_id=found.id,
                role=form.cleaned_data["role"],
                changed_by=request.user,
                actor=actor(request),
                now=timezone.now(),
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id)
        else:
            messages.success(request, f"{found.user.email} is {Role(form.cleaned_data['role']).label.lower()} now.")
            return redirect(to(request, "team"))
    return pages.answer(request, "dashboard/member.html", _about(request, found, form=form))


@page("members:write", writes="members:write")
def remove(request: SeatedRequest, member_id: str) -> HttpResponse:
    """Ask once more, then take somebody out of the team."""
    found = _member(request, member_id)
    if request.method == "POST" and (refusal := _removed(request, found)):
        return pages.answer(request, "dashboard/member_remove.html", _about(request, found, refusal=refusal))
    if request.method == "POST":
        messages.success(request, f"{found.user.email} is out of the team.")
        return redirect(to(request, "team") if found.user_id != request.user.id else reverse("start"))
    return pages.answer(request, "dashboard/member_remove.html", _about(request, found))


@page("organization:read", writes="organization:read")
def leave(request: SeatedRequest) -> HttpResponse:
    """Ask once more, then leave the team; everybody may, but the last owner."""
    own = request.seat.organization.memberships.select_related("user").get(user=request.user)
    context = {**_about(request, own), "back": to(request, "account")}
    if request.method == "POST":
        context["refusal"] = _removed(request, own)
        if not context["refusal"]:
            messages.success(request, f"You have left {request.seat.organization.name}.")
            return redirect("start")
    return pages.answer(request, "dashboard/member_remove.html", context)


@never_cache
@sensitive_post_parameters("password")
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """What the link in the e-mail opens: accept, after signing in or making an account."""
    now = timezone.now()
    try:
        place = team.read(token, now=now)
    except InvitationRefused:
        return pages.answer(request, "dashboard/invitation.html", {}, status=410)
    if request.method == "POST" and not ratelimit.consume(request, action="accept_invitation"):
        return _too_many(request)
    is_new = not place.user.has_usable_password()
    form = forms.Join(request.POST if request.method == "POST" and is_new else None)
    if request.method == "POST" and (form.is_valid() or request.user == place.user):
        try:
            if is_new:
                joined = team.join(membership=place, now=now, **form.cleaned_data)
                login(request, joined.user, backend=BACKEND)
            else:
                joined = team.accept(membership=place, user=place.user, now=now)
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=getattr(request, "request_id", ""))
        else:
            return redirect("test:overview", joined.organization.slug)
    context = {
        "place": place,
        "form": form,
        "is_new": is_new,
        "is_mine": request.user == place.user,
        "login_url": f"{reverse('account_login')}?next={request.path}",
    }
    return pages.answer(request, "dashboard/invitation.html", context)


def _invite_again(request: SeatedRequest, found: Membership) -> HttpResponse:
    if not ratelimit.consume(request, action="invite"):
        return _too_many(request)
    try:
        made = team.renew(
            organization=request.seat.organization,
            member_id=found.id,
            invited_by=request.user,
            actor=actor(request),
            now=timezone.now(),
        )
    except ServiceError as refusal:
        messages.error(request, refusal.message)
    else:
        _send(request, made)
    return redirect(to(request, "team"))


def _send(request: SeatedRequest, made: Invitation) -> None:
    """Send the link, or say that it could not be sent: the place stays open, and another link can be."""
    address = made.membership.user.email
    context = {
        "organization": request.seat.organization.name,
        "inviter": request.user.name or request.user.email,
        "role": made.membership.role,
        "url": f"{settings.PUBLIC_URL}{reverse('invitation', args=[made.token])}",
        "days": team.INVITATION_LIFETIME.days,
    }
    subject = f"{context['inviter']} invites you to {context['organization']} on Farthing"
    try:
        send_mail(subject, render_to_string("dashboard/mail/invitation.txt", context), None, [address])
    except (SMTPException, OSError):
        logger.exception("an invitation could not be sent")
        messages.error(request, f"The email to {address} could not be sent. Send the invitation again later.")
    else:
        messages.success(request, f"An invitation is on its way to {address}. It works for {context['days']} days.")


def _removed(request: SeatedRequest, found: Membership) -> str:
    """Take somebody out; return why not, where that was refused."""
    try:
        team.remove(
            organization=request.seat.organization,
            member_id=found.id,
            removed_by=request.user,
            actor=actor(request),
            now=timezone.now(),
        )
    except ServiceError as refusal:
        return str(refusal.message)
    return ""


def _member(request: SeatedRequest, member_id: str) -> Membership:
    return team.find(organization=request.seat.organization, member_id=public_id(team.PREFIX, member_id))


def _about(request: SeatedRequest, found: Membership, **more: Any) -> dict[str, Any]:
    me: User = request.user
    row = reads.row(found, me=me)
    return {"nav": "team", "seat": request.seat, "member": row, "back": to(request, "team"), **more}


def _roles(request: SeatedRequest) -> list[tuple[str, str]]:
    """Only owners make owners."""
    return [(role, forms.ROLES[role]) for role in Role.values if role != Role.OWNER or request.seat.role == Role.OWNER]


def _too_many(request: HttpRequest) -> HttpResponse:
    answer: HttpResponse = ratelimit.respond_429(request)
    return answer
