"""Pages by key."""

from datetime import timedelta

import pytest

from merchants.models import Product
from tests import factories
from ui import paging

pytestmark = pytest.mark.django_db
SIZE = 4


@pytest.fixture
def names() -> list[str]:
    """Eleven products, newest first, three of them of one instant."""
    merchant = factories.merchant()
    made = [factories.product(merchant=merchant, name=f"Product {number}") for number in range(11)]
    for number, product in enumerate(made):
        minutes = 5 if number in {5, 6, 7} else number
        product.created_at = factories.NOW + timedelta(minutes=minutes)
        product.save(update_fields=["created_at"])
    return [product.name for product in Product.objects.order_by("-created_at", "-id")]


def fetch(cursor: str = "") -> paging.Page[Product]:
    return paging.page(Product.objects.all(), cursor=cursor, size=SIZE)


class TestPage:
    def test_walks_to_the_end_and_back_over_the_same_rows(self, names: list[str]) -> None:
        page = fetch()
        walked = [[row.name for row in page.rows]]
        while page.older:
            page = fetch(page.older)
            walked.append([row.name for row in page.rows])
        assert [name for rows in walked for name in rows] == names
        back = [walked[-1]]
        while page.newer:
            page = fetch(page.newer)
            back.append([row.name for row in page.rows])
        assert back == walked[::-1]

    def test_stays_where_it_was_when_newer_rows_arrive(self, names: list[str]) -> None:
        older = fetch().older
        merchant = factories.merchant()
        late = factories.product(merchant=merchant, name="Late")
        late.created_at = factories.NOW + timedelta(days=1)
        late.save(update_fields=["created_at"])
        assert [row.name for row in fetch(older).rows] == names[SIZE : 2 * SIZE]

    def test_knows_when_it_is_the_only_one(self) -> None:
        assert fetch().is_only_page

    @pytest.mark.parametrize(
        "cursor", ["", "x", "older~x~y", "older~2026-01-01~00", "sideways~2026-01-01T00:00:00+00:00~0"]
    )
    def test_is_the_first_one_for_what_is_no_cursor(self, names: list[str], cursor: str) -> None:
        assert [row.name for row in fetch(cursor).rows] == names[:SIZE]
