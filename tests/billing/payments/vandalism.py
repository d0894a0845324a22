"""What may be put wrong in payments, and exactly which checks must notice."""

_GIVEN = "state = 'succeeded' AND withdrawal_id IS NULL"
_PAID = f"id = (SELECT attempt_id FROM billing_paymentrefund WHERE {_GIVEN})"
_ENTRY = "entry_id = (SELECT id FROM billing_entry WHERE kind = '{}' LIMIT 1)"
_LOST = "state = 'lost'"

PAYMENTS: dict[str, tuple[str, set[str]]] = {
    "a payment that was never booked": (
        (
            "UPDATE billing_paymentattempt SET state = 'succeeded' WHERE id = "
            "(SELECT a.id FROM billing_paymentattempt a WHERE a.state = 'declined' LIMIT 1)"
        ),
        {"attempts_traced", "payments_booked", "top_ups_paid"},
    ),
    "a payment that was booked and did not come": (
        f"UPDATE billing_paymentattempt SET state = 'declined', refunded = 0 WHERE {_PAID}",
        {"attempts_traced", "payments_booked", "refunds_within_payment", "top_ups_paid"},
    ),
    "a payment's amount": (
        f"UPDATE billing_paymentattempt SET amount = amount + 1 WHERE {_PAID}",
        {"payments_booked", "top_ups_paid"},
    ),
    "a payment lost": (
        f"DELETE FROM billing_paymentattempt WHERE {_PAID}",
        {"top_ups_paid"},
    ),
    "what was given back of a payment": (
        f"UPDATE billing_paymentattempt SET refunded = refunded + 1 WHERE {_PAID}",
        {"refunds_within_payment"},
    ),
    "a refund that has not arrived": (
        f"UPDATE billing_paymentrefund SET state = 'processing' WHERE {_GIVEN}",
        {"refunds_posted"},
    ),
    "a refund's amount": (
        f"UPDATE billing_paymentrefund SET amount = amount + 1 WHERE {_GIVEN}",
        {"refunds_posted", "refunds_within_payment"},
    ),
    "a failed refund that calls itself done": (
        "UPDATE billing_paymentrefund SET state = 'succeeded' WHERE state = 'failed'",
        {"refunds_posted", "refunds_within_payment"},
    ),
    "a refund's posting": (
        f"UPDATE billing_posting SET amount = amount + 1 WHERE {_ENTRY.format('refund_arrived')}",
        {"accounts_kept", "refunds_posted"},
    ),
    "a dispute that calls itself won": (
        f"UPDATE billing_paymentdispute SET state = 'won' WHERE {_LOST}",
        {"disputes_posted"},
    ),
    "what a dispute withholds": (
        f"UPDATE billing_paymentdispute SET withheld = withheld - 1 WHERE {_LOST}",
        {"disputes_posted"},
    ),
    "the last step of a payment": (
        (
            "DELETE FROM billing_attemptstep WHERE attempt_id = (SELECT attempt_id FROM billing_paymentrefund "
            f"WHERE {_GIVEN}) AND state = 'succeeded'"
        ),
        {"attempts_traced"},
    ),
    "the account of a payment": (
        (
            "UPDATE billing_paymentattempt SET provider = 'stripe', account_id = gen_random_uuid() WHERE id = "
            "(SELECT id FROM billing_paymentattempt WHERE state = 'declined' LIMIT 1)"
        ),
        {"payments_at_their_account"},
    ),
    "what a provider took": (
        "UPDATE billing_providerline SET fee = fee + 1",
        {"provider_lines_booked"},
    ),
    "what a provider settled in another currency": (
        "UPDATE billing_providerline SET amount = amount + 1",
        {"provider_lines_booked"},
    ),
    "the currency that a provider settled in": (
        "UPDATE billing_providerline SET currency = charged_currency",
        {"provider_lines_booked"},
    ),
    "what keeps payments from being open twice": (
        "DROP INDEX one_open_attempt_per_target",
        {"payments_once"},
    ),
}
