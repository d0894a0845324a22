"""Sealed secrets: they open with our keys, for the row they belong to, and nowhere else."""

import os
from io import StringIO

import pytest
from django.core.management import call_command

from merchants import sealing

ABOUT = "shops_door:1"


class TestSealing:
    def test_opens_what_it_sealed(self):
        assert sealing.unseal(sealing.seal("s3cret", about=ABOUT), about=ABOUT) == "s3cret"

    def test_never_seals_alike(self):
        assert sealing.seal("a", about=ABOUT) != sealing.seal("a", about=ABOUT)

    def test_shows_nothing_of_the_secret(self):
        assert b"s3cret" not in sealing.seal("s3cret", about=ABOUT)

    def test_does_not_open_for_another_row(self):
        with pytest.raises(sealing.CannotUnseal):
            sealing.unseal(sealing.seal("a", about=ABOUT), about="shops_door:2")

    @pytest.mark.parametrize("place", [0, 1, 3, -1])
    def test_does_not_open_when_altered(self, place):
        sealed = bytearray(sealing.seal("a", about=ABOUT))
        sealed[place] ^= 1
        with pytest.raises(sealing.CannotUnseal):
            sealing.unseal(bytes(sealed), about=ABOUT)

    def test_opens_with_an_older_key(self, settings):
        sealed = sealing.seal("a", about=ABOUT)
        settings.SEALING_KEYS = [("new", os.urandom(32)), *settings.SEALING_KEYS]
        assert sealing.unseal(sealed, about=ABOUT) == "a"
        assert sealing.key_id(sealing.seal("a", about=ABOUT)) == "new"

    def test_does_not_open_without_its_key(self, settings):
        sealed = sealing.seal("a", about=ABOUT)
        settings.SEALING_KEYS = [("new", os.urandom(32))]
        with pytest.raises(sealing.CannotUnseal, match="FARTHING_SEALING_KEYS"):
            sealing.unseal(sealed, about=ABOUT)

    def test_command_says_what_it_did(self, db):
        out = StringIO()
        call_command("rotate_secrets", stdout=out)
        assert out.getvalue() == "0 secrets sealed anew\n"
