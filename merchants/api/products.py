"""Products over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from merchants import products
from merchants.models import Product
from merchants.serializers import (
    BodySerializer,
    ConstantField,
    IdField,
    InstantField,
    MetadataField,
    OwnMerchantField,
    PageSerializer,
    TextField,
    page_of,
)
from merchants.tenancy import TenantView

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 2_000


class ProductSerializer(serializers.Serializer[Product]):
    """Something a merchant sells."""

    id = IdField("prod")
    object = ConstantField("product")
    merchantId = IdField("org", source="merchant_id")
    name = TextField()
    description = TextField()
    metadata = MetadataField()
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")


class CreateProductSerializer(BodySerializer):
    """A new product."""

    merchantId = OwnMerchantField(source="merchant_id")
    name = TextField(length_max=NAME_LENGTH_MAX)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX)
    metadata = MetadataField(required=False)


class UpdateProductSerializer(BodySerializer):
    """What to change of a product."""

    name = TextField(length_max=NAME_LENGTH_MAX, required=False)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False)
    metadata = MetadataField(required=False)


class ProductQuerySerializer(PageSerializer):
    """Which products to list."""

    merchantId = OwnMerchantField(required=False)


class Products(TenantView):
    scope = "products"

    @extend_schema(
        operation_id="listProducts", parameters=[ProductQuerySerializer], responses=page_of(ProductSerializer)
    )
    def get(self, request: Request) -> Response:
        """List the products, the oldest first."""
        query = self.read_query(ProductQuerySerializer)
        rows = Product.objects.filter(merchant_id=self.merchant_id).order_by("created_at", "id")
        return self.page(rows, query, ProductSerializer)

    @extend_schema(operation_id="createProduct", request=CreateProductSerializer, responses={201: ProductSerializer})
    def post(self, request: Request) -> Response:
        """Create a product."""
        body = self.read_body(CreateProductSerializer)
        return self.answer_once(lambda: (201, ProductSerializer, products.create(**body, now=self.now)))


class ProductById(TenantView):
    scope = "products"

    @extend_schema(operation_id="getProduct", responses=ProductSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a product."""
        product_id = self.path_id("prod", id)
        return self.answer(ProductSerializer, products.get(merchant_id=self.merchant_id, product_id=product_id))

    @extend_schema(operation_id="updateProduct", request=UpdateProductSerializer, responses=ProductSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Change a product."""
        product_id, changes = self.path_id("prod", id), self.read_body(UpdateProductSerializer)
        changed: Any = products.update(merchant_id=self.merchant_id, product_id=product_id, **changes, now=self.now)
        return self.answer(ProductSerializer, changed)


urlpatterns = [
    path("products", Products.as_view()),
    path("products/<str:id>", ProductById.as_view()),
]
