"""API keys."""

import string
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import override_settings

from merchants import audit, keys, roles
from merchants.errors import Conflict, Forbidden, NotFound, Unauthorized, ValidationFailed
from merchants.models import ApiKey, AuditEntry
from tests import factories
from tests.factories import NOW


def issue(merchant=None, scopes=("*",), **options) -> keys.Issued:
    merchant = merchant or factories.merchant()
    return keys.create(merchant=merchant, name="Server", scopes=scopes, actor=audit.SYSTEM, now=NOW, **options)


class TestNewSecret:
    @pytest.mark.parametrize(
        ("mode", "scopes", "head"),
        [
            ("test", ["*"], "fth_sk_test_"),
            ("live", ["*"], "fth_sk_live_"),
            ("test", ["usage:write"], "fth_rk_test_"),
        ],
    )
    def test_names_kind_and_mode(self, mode, scopes, head):
        secret = keys.new_secret(mode, scopes)

        assert secret.startswith(head)
        assert len(secret) == len(head) + 30
        assert set(secret.removeprefix(head)) <= set(string.digits + string.ascii_letters)

    def test_carries_more_than_132_random_bits(self):
        assert 62**keys.RANDOM_LENGTH > 2**132

    def test_never_repeats(self):
        assert len({keys.new_secret("test", ["*"]) for _ in range(1_000)}) == 1_000


class TestIsWellFormed:
    def test_knows_its_own(self):
        assert all(keys.is_well_formed(keys.new_secret("test", ["*"])) for _ in range(100))

    def test_sees_every_single_typing_error(self):
        secret = keys.new_secret("test", ["*"])
        for place in range(len(secret)):
            for wrong in "0Zz":
                typed = secret[:place] + wrong + secret[place + 1 :]
                assert keys.is_well_formed(typed) == (typed == secret)

    @pytest.mark.parametrize("text", ["", "_", "fth_sk_test_", "sk_test_123", "fth_sk_test_" + "é" * 30])
    def test_refuses_other_texts(self, text):
        assert not keys.is_well_formed(text)


class TestDigests:
    @override_settings(API_KEY_PEPPERS=["new", "old"])
    def test_hash_under_every_pepper_the_newest_first(self):
        with override_settings(API_KEY_PEPPERS=["new"]):
            first = keys.digests("secret")
        with override_settings(API_KEY_PEPPERS=["old"]):
            second = keys.digests("secret")

        assert keys.digests("secret") == first + second
        assert first != second


@pytest.mark.django_db
class TestCreate:
    def test_keeps_no_secret(self):
        issued = issue()

        row = ApiKey.objects.values().get()
        assert issued.secret not in str(row)
        assert bytes(row["digest"]) == keys.digests(issued.secret)[0]
        assert row["hint"] == f"fth_sk_test_…{issued.secret[-4:]}"

    @pytest.mark.parametrize("scopes", [["products"], ["products:delete"], ["keys:write"], []])
    def test_refuses_scopes_that_do_not_exist(self, scopes):
        with pytest.raises(ValidationFailed):
            issue(scopes=scopes)

    def test_is_on_record(self):
        issued = issue(scopes=["usage:write"])

        entry = AuditEntry.objects.get()
        assert (entry.action, entry.changes["scopes"]) == ("api_key.created", ["usage:write"])
        assert issued.secret not in str(entry.changes)


@pytest.mark.django_db
class TestFind:
    def test_knows_what_a_key_opens(self):
        merchant = factories.merchant(mode="live")
        issued = issue(merchant, scopes=["usage:write"])

        found = keys.find(issued.secret)

        assert found is not None
        assert (found.merchant_id, found.mode, found.scopes) == (merchant.id, "live", frozenset({"usage:write"}))

    def test_knows_a_key_hashed_under_an_older_pepper(self):
        with override_settings(API_KEY_PEPPERS=["old"]):
            issued = issue()

        with override_settings(API_KEY_PEPPERS=["new", "old"]):
            assert keys.find(issued.secret) is not None
        with override_settings(API_KEY_PEPPERS=["new"]):
            assert keys.find(issued.secret) is None

    def test_gives_the_same_facts_as_the_statement_of_the_lane(self):
        from django.db import connection

        issued = issue(expires_at=NOW + timedelta(days=1))

        with connection.cursor() as cursor:
            cursor.execute(keys.FACTS_SQL, [keys.digests(issued.secret)])
            row = cursor.fetchone()

        assert keys.facts(row) == keys.find(issued.secret)


@pytest.mark.django_db
class TestRoll:
    def test_keeps_the_old_key_for_the_overlap(self):
        old = issue(scopes=["usage:write", "products:read"])

        new = keys.roll(
            merchant_id=old.key.merchant_id,
            key_id=old.key.id,
            actor=audit.SYSTEM,
            now=NOW,
            overlap=timedelta(hours=1),
        )

        ending, fresh = keys.find(old.secret), keys.find(new.secret)
        assert ending is not None
        assert fresh is not None
        assert fresh.scopes == ending.scopes
        ending.check(NOW + timedelta(minutes=59))
        with pytest.raises(Unauthorized, match="expired"):
            ending.check(NOW + timedelta(hours=1))

    def test_happens_once(self):
        old = issue()
        merchant_id = old.key.merchant_id
        keys.roll(merchant_id=merchant_id, key_id=old.key.id, actor=audit.SYSTEM, now=NOW)

        with pytest.raises(Conflict):
            keys.roll(merchant_id=merchant_id, key_id=old.key.id, actor=audit.SYSTEM, now=NOW)

    def test_never_lengthens_a_key(self):
        old = issue(expires_at=NOW + timedelta(minutes=1))
        keys.roll(merchant_id=old.key.merchant_id, key_id=old.key.id, actor=audit.SYSTEM, now=NOW)

        assert ApiKey.objects.get(id=old.key.id).expires_at == NOW + timedelta(minutes=1)

    def test_finds_no_key_of_another_merchant(self):
        with pytest.raises(NotFound):
            keys.roll(merchant_id=factories.merchant().id, key_id=issue().key.id, actor=audit.SYSTEM, now=NOW)


@pytest.mark.django_db
class TestRevoke:
    def test_ends_a_key_at_once(self):
        issued = issue()

        keys.revoke(merchant_id=issued.key.merchant_id, key_id=issued.key.id, actor=audit.SYSTEM, now=NOW)

        found = keys.find(issued.secret)
        assert found is not None
        with pytest.raises(Unauthorized, match="revoked"):
            found.check(NOW)

    def test_changes_nothing_the_second_time(self):
        issued = issue()
        for minutes in range(2):
            keys.revoke(
                merchant_id=issued.key.merchant_id,
                key_id=issued.key.id,
                actor=audit.SYSTEM,
                now=NOW + timedelta(minutes=minutes),
            )

        assert ApiKey.objects.get().revoked_at == NOW
        assert AuditEntry.objects.filter(action="api_key.revoked").count() == 1


@pytest.mark.django_db
class TestNoteUse:
    def test_writes_at_most_once_a_minute(self):
        key = issue().key
        for seconds in (0, 30, 59, 60):
            keys.note_use(key_id=key.id, now=NOW + timedelta(seconds=seconds))
            expected = NOW + timedelta(seconds=60 if seconds == 60 else 0)
            assert ApiKey.objects.get().last_used_at == expected


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


FACTS = keys.KeyFacts(
    key_id=uuid4(),
    merchant_id=uuid4(),
    mode="test",
    scopes=frozenset({"*"}),
    expires_at=None,
    revoked_at=None,
    last_used_at=None,
)


class TestKeyCache:
    def test_forgets_after_two_seconds(self):
        clock = Clock()
        cache = keys.KeyCache(clock)
        cache.put(b"a", FACTS)

        clock.now = 1.99
        assert cache.get(b"a") == (True, FACTS)
        clock.now = 2.0
        assert cache.get(b"a") == (False, None)

    def test_remembers_that_nothing_was_found(self):
        cache = keys.KeyCache(Clock())
        cache.put(b"a", None)

        assert cache.get(b"a") == (True, None)
        assert cache.get(b"b") == (False, None)

    def test_loses_no_known_key_to_a_flood_of_unknown_ones(self):
        cache = keys.KeyCache(Clock())
        cache.put(b"known", FACTS)
        for number in range(keys.CACHE_UNKNOWN_MAX + 10):
            cache.put(b"%d" % number, None)

        assert cache.get(b"known") == (True, FACTS)
        assert cache.get(b"0") == (False, None)
        assert cache.get(b"%d" % (keys.CACHE_UNKNOWN_MAX + 9)) == (True, None)

    def test_is_bounded(self):
        cache = keys.KeyCache(Clock())
        for number in range(keys.CACHE_KEYS_MAX + 5):
            cache.put(b"%d" % number, FACTS)

        assert [cache.get(b"%d" % number)[0] for number in range(6)] == [False] * 5 + [True]

    def test_lets_a_new_answer_replace_the_old(self):
        cache = keys.KeyCache(Clock())
        cache.put(b"a", None)
        cache.put(b"a", FACTS)

        assert cache.get(b"a") == (True, FACTS)


class TestScopes:
    @pytest.mark.parametrize(
        ("held", "asked", "answer"),
        [
            ({"*"}, "wallets:write", True),
            ({"wallets:write"}, "wallets:read", True),
            ({"wallets:read"}, "wallets:write", False),
            ({"wallets:read"}, "invoices:read", False),
            (set(), "wallets:read", False),
        ],
    )
    def test_grant_what_they_name(self, held, asked, answer):
        assert roles.grants(held, asked) is answer

    @pytest.mark.parametrize(
        ("held", "asked", "answer"),
        [
            ({"*"}, "organization:read", True),
            ({"*"}, "organization:write", False),
            ({"*", "organization:write"}, "organization:write", True),
            ({"organization:write"}, "organization:read", True),
            ({"organization:write"}, "wallets:read", False),
        ],
    )
    def test_say_by_name_that_a_key_may_change_who_sells(self, held, asked, answer):
        assert roles.allows(held, asked) is answer

    @pytest.mark.parametrize(
        ("role", "wanted", "may"),
        [
            ("owner", {"*", "organization:write"}, True),
            ("admin", {"*", "organization:read"}, True),
            ("admin", {"organization:write"}, False),
            ("developer", {"*"}, True),
            ("developer", {"*", "organization:write"}, False),
            ("analyst", {"wallets:read"}, True),
            ("analyst", {"*"}, False),
        ],
    )
    def test_go_no_further_than_who_makes_the_key(self, role, wanted, may):
        assert roles.may_make(roles.ROLES[role], wanted) is may


@pytest.mark.django_db
class TestWhoMakesAKey:
    def test_cannot_give_or_roll_more_than_they_may(self):
        merchant, named = factories.merchant(), {"actor": audit.SYSTEM, "now": NOW}
        asked = {"merchant": merchant, "name": "A", "scopes": ["organization:write"]}
        with pytest.raises(Forbidden):
            keys.create(**asked, **named, role="developer")
        strong = keys.create(**asked, **named)
        with pytest.raises(Forbidden):
            keys.roll(merchant_id=merchant.id, key_id=strong.key.id, **named, role="developer")
        strong.key.refresh_from_db()
        assert strong.key.successor_id is None
        assert keys.roll(merchant_id=merchant.id, key_id=strong.key.id, **named).key.scopes == ["organization:write"]
