"""Secrets that we must be able to read again: sealed with AES-GCM, tied to the row they belong to.

A sealed secret names the key it is sealed with, so that keys can be rotated: ``FARTHING_SEALING_KEYS`` lists them,
the first seals, all of them open, and ``manage.py rotate_secrets`` seals anew what others had sealed. ``about`` is
authenticated with the secret: one copied into another row does not open there.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import models, transaction

VERSION = 1
NONCE_BYTES = 12  # NIST SP 800-38D, 8.2.2: at most 2^32 random nonces under one key
ROTATED_AT_ONCE = 500


class CannotUnseal(Exception):
    """The key is not among ours, or what was sealed was altered or belongs elsewhere."""


def seal(plain: str, *, about: str) -> bytes:
    """Encrypt a secret with the first key.

    Args:
        about: what it belongs to, as ``table:row id``; needed again to open it.
    """
    key_id, key = settings.SEALING_KEYS[0]
    nonce = os.urandom(NONCE_BYTES)
    head = bytes([VERSION, len(key_id)]) + key_id.encode()
    return head + nonce + AESGCM(key).encrypt(nonce, plain.encode(), head + about.encode())


def unseal(sealed: bytes | memoryview, *, about: str) -> str:
    """Decrypt a secret.

    Raises:
        CannotUnseal: it does not open with our keys as belonging to ``about``.
    """
    sealed = bytes(sealed)
    key = dict(settings.SEALING_KEYS).get(key_id(sealed))
    if key is None:
        raise CannotUnseal(f"{about} is sealed with a key that FARTHING_SEALING_KEYS does not list")
    end = 2 + sealed[1]
    head, nonce, box = sealed[:end], sealed[end : end + NONCE_BYTES], sealed[end + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, box, head + about.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise CannotUnseal(f"{about} was altered, or sealed for something else") from error


def key_id(sealed: bytes) -> str:
    """Name the key that a secret is sealed with; raises CannotUnseal."""
    if len(sealed) < 2 or sealed[0] != VERSION:
        raise CannotUnseal("this is no sealed secret")
    return sealed[2 : 2 + sealed[1]].decode(errors="replace")


# --- rotation --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drawer:
    """A column that keeps sealed secrets, and what each row's is about."""

    model: type[models.Model]
    column: str
    about: Callable[[Any], str]


_drawers: list[Drawer] = []


def register(model: type[models.Model], column: str, about: Callable[[Any], str]) -> None:
    """Have rotation find the secrets of a column; null is none."""
    _drawers.append(Drawer(model, column, about))


def rotate() -> int:
    """Seal with the first key what is sealed with another; return how many secrets that were.

    Raises:
        CannotUnseal: one does not open; those before it are done.
    """
    return sum(_rotate(drawer) for drawer in _drawers)


def _rotate(drawer: Drawer) -> int:
    done = 0
    for keys in _stale(drawer):
        with transaction.atomic():
            rows = drawer.model._default_manager.select_for_update(no_key=True).filter(pk__in=keys)
            for row in rows:
                about = drawer.about(row)
                setattr(row, drawer.column, seal(unseal(getattr(row, drawer.column), about=about), about=about))
                row.save(update_fields=[drawer.column])
                done += 1
    return done


def _stale(drawer: Drawer) -> Iterator[list[Any]]:
    first = settings.SEALING_KEYS[0][0]
    rows = drawer.model._default_manager.exclude(**{drawer.column: None}).values_list("pk", drawer.column)
    stale = [key for key, sealed in rows.iterator() if key_id(bytes(sealed)) != first]
    for start in range(0, len(stale), ROTATED_AT_ONCE):
        yield stale[start : start + ROTATED_AT_ONCE]
