from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        """Tell the register of customers what billing knows of them, and payments what they are for."""
        from billing import (
            assessments,
            dependents,
            followers,
            invoice_payments,
            invoice_sessions,
            test_clocks,
            topups,
            withdrawals,
        )
        from billing.payments import accounts, authorizations, checkout, earnings, one_off, refills

        dependents.register()
        assessments.register()
        topups.register()
        withdrawals.register()
        accounts.register()
        checkout.register()
        one_off.register()
        invoice_payments.register()
        invoice_sessions.register()
        earnings.register()
        test_clocks.register_billing()
        followers.register(
            started=authorizations.subscription_started,
            given_up=authorizations.subscription_given_up,
            renewed=refills.renewed,
            ended=refills.ended,
        )
        followers.register_top_ups(came=refills.topped_up, failed=refills.declined)
