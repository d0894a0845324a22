"""The whole HTTP surface on one screen."""

urlpatterns: list[object] = []
