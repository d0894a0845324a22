"""How an organization comes to be."""

import pytest

from merchants import audit, keys, registration
from merchants.errors import Conflict, ValidationFailed
from merchants.models import AuditEntry, Membership, Organization, Role, User
from tests.factories import NOW

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def register(**given) -> registration.Registered:
    fields = {"organization": "Northwind", "email": "ada@northwind.example", "password": PASSWORD, **given}
    return registration.register(**fields, now=NOW)


class TestRegister:
    def test_makes_two_merchants_that_share_nothing_but_the_organization(self):
        made = register()

        assert (made.test.mode, made.live.mode) == ("test", "live")
        assert {made.test.organization_id, made.live.organization_id} == {made.organization.id}

    def test_makes_an_owner_who_can_sign_in(self):
        made = register(email="Ada@Northwind.Example")

        owner = Membership.objects.get(organization=made.organization)
        assert (owner.user, owner.role, owner.state) == (made.user, Role.OWNER, Membership.State.ACTIVE)
        assert made.user.email == "ada@northwind.example"
        assert made.user.check_password(PASSWORD)

    def test_gives_a_key_of_the_test_merchant(self):
        made = register()

        found = keys.find(made.secret)
        assert found is not None
        assert (found.merchant_id, found.mode) == (made.test.id, "test")

    def test_is_on_record_in_both_modes(self):
        made = register()

        registered = AuditEntry.objects.filter(action="organization.registered")
        assert set(registered.values_list("merchant_id", flat=True)) == {made.test.id, made.live.id}
        assert audit.first_break(merchant_id=made.test.id) is None

    def test_gives_organizations_of_one_name_different_slugs(self):
        slugs = [register(email=f"{n}@northwind.example").organization.slug for n in range(3)]

        assert slugs[0] == "northwind"
        assert len(set(slugs)) == 3

    def test_refuses_an_e_mail_address_twice_and_leaves_nothing(self):
        register()

        with pytest.raises(Conflict):
            register(organization="Other", email="ADA@northwind.example")

        assert (Organization.objects.count(), User.objects.count()) == (1, 1)

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"organization": " "}, "organization"),
            ({"organization": "a\r\nb"}, "organization"),
            ({"email": "nobody"}, "email"),
            ({"password": "short"}, "password"),
            ({"password": "password1234"}, "password"),
            ({"timezone": "Mars/Olympus"}, "timezone"),
            ({"timezone": "../../etc/passwd"}, "timezone"),
            ({"timezone": ""}, "timezone"),
        ],
    )
    def test_refuses_what_is_not_usable(self, given, field):
        with pytest.raises(ValidationFailed) as refused:
            register(**given)

        assert [error["field"] for error in refused.value.errors] == [field]
        assert not Organization.objects.exists()
