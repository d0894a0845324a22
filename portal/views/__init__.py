"""Every page that customers and payers see, on one screen."""

from django.urls import URLPattern, path

from portal.views import (
    authorize,
    auto_top_up,
    company,
    disputes,
    home,
    invoice,
    link,
    methods,
    pay,
    test_card,
    withdrawals,
)

app_name = "portal"
urlpatterns: list[URLPattern] = [
    path("", home.home, name="home"),
    path("live", home.live, name="live"),
    path("invoices/<str:invoice_id>/pdf", home.invoice_pdf, name="invoice-pdf"),
    path("credit-notes/<str:credit_note_id>/pdf", home.credit_note_pdf, name="credit-note-pdf"),
    path("events/<str:event_id>/dispute", disputes.show, name="dispute"),
    path("top-up", home.top_up, name="top-up"),
    path("limits", home.set_limit, name="set-limit"),
    path("limits/<str:budget_id>", home.change_limit, name="change-limit"),
    path("history", home.history, name="history"),
    path("history/export", home.history_export, name="history-export"),
    path("withdrawals", withdrawals.ask, name="withdraw"),
    path("withdrawals/<str:withdrawal_id>/cancel", withdrawals.cancel, name="withdrawal-cancel"),
    path("auto-top-up", auto_top_up.show, name="auto-top-up"),
    path("company", company.show, name="company"),
    path("leave", home.leave, name="leave"),
    path("cards", methods.listing, name="cards"),
    path("cards/add", methods.add, name="card-add"),
    path("cards/<str:method_id>", methods.change, name="card-change"),
    path("unsubscribe/<str:token>", home.unsubscribe, name="unsubscribe"),
    path("c/<str:token>", home.enter, name="enter"),
    path("pay/<str:token>", pay.show, name="pay"),
    path("pay/<str:token>/submit", pay.submit, name="pay-submit"),
    path("pay/<str:token>/company", pay.company, name="pay-company"),
    path("pay/<str:token>/another", pay.another, name="pay-another"),
    path("pay/<str:token>/state", pay.state, name="pay-state"),
    path("testCard/<str:merchant>/<str:ref>/<str:secret>", test_card.show, name="test-card"),
    path("testCard/<str:merchant>/<str:ref>/<str:secret>/pay", test_card.pay, name="test-card-pay"),
    path("testCard/<str:merchant>/<str:ref>/<str:secret>/confirm", test_card.confirm, name="test-card-confirm"),
    path("link/<str:token>", link.show, name="link"),
    path("invoice/<str:token>", invoice.show, name="invoice"),
    path("invoice/<str:token>/pdf", invoice.file, name="invoice-file"),
    path("authorize/<str:token>", authorize.show, name="authorize"),
]
