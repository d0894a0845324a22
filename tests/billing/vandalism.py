"""What a superuser with every guard switched off may put wrong in the books, and exactly which checks must notice."""

from tests.billing.payments.vandalism import PAYMENTS

_FIRST = "ctid = (SELECT min(ctid) FROM {})"
_USED = """(bucket, source_id, position) = (
    SELECT bucket, source_id, position FROM billing_charge
    WHERE kind = 'usage' AND seq = 2 AND net > 0 ORDER BY wallet_id LIMIT 1)"""
_RETURNED = """(bucket, source_id, position) = (
    SELECT bucket, source_id, position FROM billing_charge WHERE kind = 'refund' ORDER BY wallet_id, seq LIMIT 1)"""
_RATED = """ctid = (
    SELECT min(k.ctid) FROM billing_counter k
    JOIN billing_rerating r USING (bucket, subscription_id, price_version_id, period_start))"""
# One that no minimum and no rating after the fact looks at besides, wherever it lies on the disk.
_COUNTED = _FIRST.format(
    "billing_counter WHERE gross > 99 AND unrated_since IS NULL "
    "AND subscription_id NOT IN (SELECT subscription_id FROM billing_trueup) "
    "AND price_version_id NOT IN (SELECT price_version_id FROM billing_rerating)"
)
_BEHIND = _FIRST.format("billing_counter WHERE unrated_since IS NOT NULL")
_SECOND = _FIRST.format("billing_rerating WHERE number = 2")
_EVENT = "id = (SELECT min(id::text)::uuid FROM metering_usageevent)"
_BUSY = "status = 'active' AND currency = 'USD'"
_PREPAID = f"id = (SELECT prepaid_wallet_id FROM billing_subscription WHERE {_BUSY})"
_CREDIT = f"id = (SELECT credit_wallet_id FROM billing_subscription WHERE {_BUSY})"
_LOST = "name = 'lost'"
_ENTRY = _FIRST.format("billing_entry WHERE kind = 'usage_settled'")
_POSTED = """ctid = (
    SELECT min(p.ctid) FROM billing_posting p JOIN billing_entry e ON e.id = p.entry_id
    JOIN billing_account a ON a.id = p.credit_account_id
    WHERE e.kind = 'usage_settled' AND a.kind = 'revenue')"""
_ISSUED = "number = 'INV-000002' AND currency <> 'CHF'"
_OWED = "currency = 'GBP' AND status = 'issued'"
_CREDITED = "number = 'CN-000001'"
_PAPER = "id = (SELECT min(document_id::text)::uuid FROM billing_documentfile)"
_LINE = f"position = 0 AND invoice_id = (SELECT id FROM billing_invoice WHERE {_ISSUED})"
_AMENDED = "id = (SELECT min(id::text)::uuid FROM metering_correction WHERE kind = 'amend')"
_MOVED = "ctid = (SELECT min(ctid) FROM entitlements_movement WHERE kind = '{}')"
_METERED = "template ? 'preserveOverageAtReset'"  # of the one whose plan stays
_INCLUDING = _FIRST.format("billing_priceversion WHERE feature_id IS NOT NULL")
_OPEN = "state = 'open' AND units IS NULL"
_COUPON_LINE = _FIRST.format("billing_invoiceline WHERE kind = 'coupon'")
_DISCOUNTED = "subscription_id = (SELECT id FROM billing_subscription WHERE currency = 'JPY')"
_MARK = _FIRST.format("entitlements_budgetcounter WHERE base IS NOT NULL")
_CAPTURED = _FIRST.format("entitlements_reservation WHERE state = 'captured'")


def _copy(table: str, where: str, **changes: str) -> str:
    """Insert a copy of a row with other values in some columns."""
    changed = ", ".join(f"'{column}', {value}" for column, value in changes.items())
    return (
        f"INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object({changed}))).* "
        f"FROM {table} t WHERE {where} LIMIT 1"
    )


_PEAK = _FIRST.format("billing_charge WHERE kind = 'usage' AND counted = 3")

_SETTLED_SUMS = {"settlements_posted", "settlements_sum"}
_INVOICED_SUMS = {"invoice_rollups", "invoice_lines"}

# What is put wrong -> how, and exactly the checks that notice.
CONTROLS: dict[str, tuple[str, set[str]]] = {
    # charges
    "a charge made dearer": (
        f"UPDATE billing_charge SET net = net + 1, gross = gross + 1 WHERE {_USED}",
        {"used_is_charged", "plan_hours", "counters_charged", "customer_hours"} | _SETTLED_SUMS | _INVOICED_SUMS,
    ),
    "a charge's tax moved to its net": (
        f"UPDATE billing_charge SET net = net + 1, tax = tax - 1 WHERE {_USED}",
        {"plan_hours", "counters_charged", "customer_hours", "settlements_posted"} | _INVOICED_SUMS,
    ),
    "a charge's platform fee": (
        f"UPDATE billing_charge SET fee = fee + 1 WHERE {_USED}",
        {"plan_hours", "counters_charged", "customer_hours", "settlements_posted"},
    ),
    "a charge's quantity": (
        f"UPDATE billing_charge SET quantity = quantity + 1 WHERE {_USED}",
        {"counters_counted", "customer_hours", "events_charged"} | _INVOICED_SUMS,
    ),
    "what a metric counts of a charge": (
        f"UPDATE billing_charge SET counted = counted + 1 WHERE {_PEAK}",
        {"counters_counted"},
    ),
    "what an invoice's line counts": (
        f"UPDATE billing_invoiceline SET counted = counted + 1 WHERE {_LINE}",
        {"invoice_lines"},
    ),
    "what grants gave of an invoice's running sum": (
        f"UPDATE billing_invoicerollup SET covered = covered - 1 WHERE {_FIRST.format('billing_invoicerollup')}",
        {"invoice_rollups"},
    ),
    "a charge's captured part": (
        f"UPDATE billing_charge SET captured = captured + 1 WHERE {_USED}",
        {"captures_bounded"},
    ),
    "a charge's metric": (
        f"UPDATE billing_charge SET metric_id = NULL WHERE {_USED}",
        {"charges_at_home", "customer_hours", "events_charged"},
    ),
    "a charge's hour": (
        f"UPDATE billing_charge SET created_at = created_at - interval '1 hour' WHERE {_USED}",
        {"plan_hours", "customer_hours"},
    ),
    "a charge's period": (
        f"UPDATE billing_charge SET period_start = period_start - interval '1 day' WHERE {_USED}",
        {"counters_counted", "counters_charged", "usage_recomputed"} | _INVOICED_SUMS,
    ),
    "a charge on another invoice": (
        (
            "UPDATE billing_charge c SET invoice_id = (SELECT max(i.id::text)::uuid FROM billing_invoice i "
            f"WHERE i.subscription_id = c.subscription_id) WHERE {_USED}"
        ),
        _INVOICED_SUMS,
    ),
    "a charge made after those that follow it": (
        f"UPDATE billing_charge SET created_at = created_at + interval '1 year' WHERE {_USED}",
        {"charges_in_order", "customer_hours", "plan_hours"},
    ),
    "a charge on another wallet": (
        (
            f"UPDATE billing_charge SET seq = 999, wallet_id = (SELECT id FROM billing_wallet WHERE {_CREDIT}) "
            f"WHERE {_USED}"
        ),
        {"plan_hours", "charges_in_order", "charges_numbered", "customer_hours", "invoices_closed"}
        | {"spent_is_unsettled"}
        | _SETTLED_SUMS
        | _INVOICED_SUMS,
    ),
    "a charge lost": (
        f"DELETE FROM billing_charge WHERE {_USED}",
        {
            "used_is_charged",
            "plan_hours",
            "counters_counted",
            "charges_numbered",
            "counters_charged",
            "customer_hours",
            "events_charged",
            "usage_recomputed",
        }
        | _SETTLED_SUMS
        | _INVOICED_SUMS,
    ),
    "the last charge lost": (
        (
            f"DELETE FROM billing_charge c USING billing_wallet w WHERE w.{_PREPAID} AND c.wallet_id = w.id "
            "AND c.seq = w.charge_seq"
        ),
        {
            "used_is_charged",
            "counters_counted",
            "captures_charged",
            "charges_numbered",
            "counters_charged",
            "events_charged",
            "spent_is_unsettled",
        }
        | {"budgets_spent", "usage_recomputed"},
    ),
    "a charge invented": (
        _copy("billing_charge", _USED, position="7", seq="999"),
        {
            "used_is_charged",
            "counters_counted",
            "charges_in_order",
            "charges_numbered",
            "counters_charged",
            "events_charged",
            "invoices_closed",
            "spent_is_unsettled",
        },
    ),
    # corrections
    "what a correction says": (
        f"UPDATE metering_correction SET properties = jsonb_set(properties, '{{0,1}}', '\"13\"') WHERE {_AMENDED}",
        {"corrections_charged", "usage_recomputed"},
    ),
    "a correction lost": (
        f"DELETE FROM metering_correction WHERE {_AMENDED}",
        {"budgets_spent", "corrections_charged", "usage_recomputed"},
    ),
    "a correction of another merchant": (
        f"UPDATE metering_correction SET merchant_id = customer_id WHERE {_AMENDED}",
        {"corrections_whose"},
    ),
    "a correction out of order": (
        f"UPDATE metering_correction SET number = 3 WHERE {_AMENDED}",
        {"corrections_charged"},
    ),
    # events
    "a property without a charge": (
        f"UPDATE metering_usageevent SET properties = properties || properties WHERE {_EVENT}",
        {"events_charged"},
    ),
    "an event's quantity": (
        f"UPDATE metering_usageevent SET properties = jsonb_set(properties, '{{0,1}}', '\"2\"') WHERE {_EVENT}",
        {"events_charged", "usage_recomputed"},
    ),
    "an event lost": (
        f"DELETE FROM metering_usageevent WHERE {_EVENT}",
        {"events_charged", "usage_recomputed"},
    ),
    "an event of nothing": (
        f"UPDATE metering_usageevent SET properties = '[]' WHERE {_EVENT}",
        {"events_charged", "events_have_one_fate", "events_have_properties", "usage_recomputed"},
    ),
    "an event that lost its subscription": (
        f"UPDATE metering_usageevent SET subscription_id = NULL WHERE {_EVENT}",
        {"events_charged", "events_have_one_fate"},
    ),
    "a metered use that should have been charged": (
        (
            "UPDATE metering_usageevent SET properties = properties #- '{0,3,metered}' "
            "WHERE subscription_id IS NULL AND properties <> '[]'"
        ),
        {"events_charged", "events_have_one_fate"},
    ),
    "a metered use that a subscription prices": (
        (
            "UPDATE metering_usageevent SET properties = jsonb_set(properties, '{1,0}', properties -> 0 -> 0) "
            "WHERE type IS NOT NULL AND subscription_id IS NOT NULL"
        ),
        {"metered_unpriced"},
    ),
    "an event of another merchant": (
        f"UPDATE metering_usageevent SET merchant_id = customer_id WHERE {_EVENT}",
        {"events_at_home"},
    ),
    # counters
    "a counter's quantity": (
        f"UPDATE billing_counter SET quantity = quantity + 1 WHERE {_COUNTED}",
        {"counters_counted", "usage_recomputed"},
    ),
    "a counter's total": (
        f"UPDATE billing_counter SET gross = gross + 1 WHERE {_COUNTED}",
        {"counters_charged", "usage_recomputed"},
    ),
    "a counter's tax rate": (
        f"UPDATE billing_counter SET tax_rate = 50 WHERE {_COUNTED}",
        {"usage_recomputed"},
    ),
    "a counter lost": (
        f"DELETE FROM billing_counter WHERE {_COUNTED}",
        {"counters_charged"},
    ),
    "a counter rated after the fact": (
        f"UPDATE billing_counter SET quantity = quantity + 1 WHERE {_RATED}",
        {"counters_counted", "reratings_last", "reratings_recomputed"},
    ),
    "a counter behind that never is": (
        f"UPDATE billing_counter SET unrated_since = now() WHERE {_COUNTED}",
        {"reratings_last"},
    ),
    "a use that nobody rated": (
        f"UPDATE billing_counter SET unrated_since = NULL WHERE {_BEHIND}",
        {"reratings_recomputed"},
    ),
    "a rerating lost": (
        f"DELETE FROM billing_rerating WHERE {_FIRST.format('billing_rerating')}",
        {"reratings_charged", "reratings_last"},
    ),
    "what a rerating came to": (
        f"UPDATE billing_rerating SET quantity = quantity + 1 WHERE {_SECOND}",
        {"reratings_charged", "reratings_last"},
    ),
    # refunds and fees
    "a refund of less": (
        f"UPDATE billing_charge SET net = net + 1, gross = gross + 1 WHERE {_RETURNED}",
        {"used_is_charged", "plan_hours", "customer_hours", "refunds_negate"} | _SETTLED_SUMS | _INVOICED_SUMS,
    ),
    "a refund lost": (
        f"DELETE FROM billing_refund WHERE {_FIRST.format('billing_refund')}",
        {"refunds_negate"},
    ),
    "a refund without charges": (
        (
            "INSERT INTO billing_refund SELECT bucket, customer_id, id, id, '', now() FROM metering_usageevent "
            "WHERE id NOT IN (SELECT usage_event_id FROM billing_refund UNION SELECT usage_event_id "
            "FROM metering_correction) ORDER BY id LIMIT 1"
        ),
        {"refunds_charged", "refunds_negate"},
    ),
    "a fee that fell due lost": (
        f"DELETE FROM billing_feeoccurrence WHERE {_FIRST.format('billing_feeoccurrence')}",
        {"fees_charged"},
    ),
    "a fee that replaces another one's": (
        "UPDATE billing_feeoccurrence SET replaces_id = customer_id WHERE replaces_id IS NOT NULL",
        {"fees_replaced"},
    ),
    "a fee's tax rate": (
        f"UPDATE billing_feeoccurrence SET tax_rate = 50 WHERE {_FIRST.format('billing_feeoccurrence')}",
        {"fees_recomputed"},
    ),
    "an unused part lost": (
        f"DELETE FROM billing_unusedpart WHERE {_FIRST.format('billing_unusedpart')}",
        {"unused_given_back"},
    ),
    "an unused part given back for more": (
        (
            "UPDATE billing_unusedpart SET used_until = used_until - interval '1 day' "
            f"WHERE {_FIRST.format('billing_unusedpart')}"
        ),
        {"fees_recomputed"},
    ),
    "an add-on of more": (
        f"UPDATE billing_addon SET quantity = quantity + 1 WHERE {_FIRST.format('billing_addon')}",
        {"fees_agreed"},
    ),
    "a fee for less than its part": (
        (
            "UPDATE billing_feeoccurrence SET whole_end = whole_end + interval '1 day' "
            f"WHERE {_FIRST.format('billing_feeoccurrence WHERE whole_end IS NOT NULL')}"
        ),
        {"fees_recomputed"},
    ),
    "a change of plan at another time": (
        (
            "UPDATE billing_planchange SET effective_at = effective_at + interval '1 hour' "
            f"WHERE {_FIRST.format('billing_planchange')}"
        ),
        {"plan_changes"},
    ),
    "a plan that no change led to": (
        (
            "UPDATE billing_subscription SET plan_version_id = (spells -> 1 ->> 0)::uuid, plan_id = ("
            "SELECT plan_id FROM billing_planversion v WHERE v.id = (spells -> 1 ->> 0)::uuid) "
            "WHERE spells IS NOT NULL AND trial_ends_at IS NOT NULL"
        ),
        {"plan_changes"},
    ),
    "a move to another version than the rollout's": (
        (
            "UPDATE billing_rollout SET to_version_id = (SELECT v.id FROM billing_planversion v "
            "WHERE v.plan_id = billing_rollout.plan_id AND v.number = 1 ORDER BY v.id LIMIT 1) "
            "WHERE created_at = (SELECT min(created_at) FROM billing_rollout) AND ctid = (SELECT min(r.ctid) "
            "FROM billing_rollout r JOIN billing_planchange c ON c.rollout_id = r.id AND c.status = 'applied')"
        ),
        {"rollouts_lead"},
    ),
    "a move to come that was withdrawn": (
        (
            "UPDATE billing_rollout SET withdrawn_at = created_at WHERE id IN "
            "(SELECT rollout_id FROM billing_planchange WHERE status = 'scheduled')"
        ),
        {"rollouts_lead"},
    ),
    "a subscriber forgotten": (
        "UPDATE billing_planchange SET rollout_id = NULL WHERE status = 'cancelled' AND rollout_id IS NOT NULL",
        {"rollouts_reach"},
    ),
    "a subscription in another currency": (
        (
            "UPDATE billing_subscription SET plan_version_id = (SELECT v.id FROM billing_planversion v "
            "WHERE v.plan_id = billing_subscription.plan_id AND v.currency = 'CHF' AND v.number = 2), spells = NULL "
            "WHERE currency = 'EUR' AND plan_version_id IN (SELECT id FROM billing_planversion WHERE is_option)"
        ),
        {"currencies_pinned", "fees_agreed", "plan_changes"},
    ),
    "an option that the plan lost": (
        "UPDATE billing_planversion SET currency = 'NOK' WHERE is_option AND number = 1",
        {"currencies_offered", "currencies_pinned", "plan_options"},
    ),
    "an option on other terms": (
        "UPDATE billing_priceversion SET payment_term = 'instant' WHERE currency = 'EUR' AND number = 2",
        {"price_options"},
    ),
    "an option taxed otherwise": (
        "UPDATE billing_planversion SET default_tax_rate = 3 WHERE is_option AND number = 1",
        {"plan_options"},
    ),
    "an option that lost a price": (
        (
            "DELETE FROM billing_planversionprice WHERE price_version_id = (SELECT id FROM billing_priceversion "
            "WHERE currency = 'EUR' AND number = 2)"
        ),
        {"plan_options"},
    ),
    "a true-up lost": (
        f"DELETE FROM billing_trueup WHERE {_FIRST.format('billing_trueup')}",
        {"true_ups_charged", "true_ups_recomputed"},
    ),
    "a true-up's tax rate": (
        f"UPDATE billing_trueup SET tax_rate = 50 WHERE {_FIRST.format('billing_trueup')}",
        {"true_ups_recomputed"},
    ),
    # coupons
    "a redemption lost": (
        f"DELETE FROM billing_redemption WHERE {_DISCOUNTED}",
        {"coupons_claimed", "discounts_agreed", "discounts_redeemed"},
    ),
    "a claim": (
        f"UPDATE billing_couponclaim SET redeemed = redeemed - 1 WHERE {_FIRST.format('billing_couponclaim')}",
        {"coupons_claimed"},
    ),
    "a percentage that was not redeemed": (
        (
            "UPDATE billing_subscription SET discounts = jsonb_set(discounts, '{0,0}', '\"13\"') "
            "WHERE discounts IS NOT NULL AND currency = 'JPY'"
        ),
        {"discounts_agreed"},
    ),
    "a counter's discount": (
        f"UPDATE billing_counter SET discount = 99 WHERE {_COUNTED}",
        {"discounts_redeemed", "usage_recomputed"},
    ),
    "a coupon's use lost": (
        f"DELETE FROM billing_couponuse WHERE {_FIRST.format('billing_couponuse')}",
        {"coupons_charged"},
    ),
    "a coupon's use of more": (
        f"UPDATE billing_couponuse SET amount = 5000000001 WHERE {_FIRST.format('billing_couponuse')}",
        {"coupons_charged", "coupons_within_worth"},
    ),
    "a coupon's line beyond what it discounts": (
        f"UPDATE billing_invoiceline SET gross = gross - 10^12 WHERE {_COUPON_LINE}",
        {"coupons_leave_nothing_negative", "invoice_lines", "invoice_totals"},
    ),
    # hosted payments
    "a session that nobody paid": (
        "UPDATE billing_paymentsession SET status = 'completed' WHERE "
        + _FIRST.format("billing_paymentsession WHERE status = 'pending' AND entity = 'payment'"),
        {"payments_asked", "sessions_paid"},
    ),
    "a session that was paid for nothing": (
        "UPDATE billing_paymentsession SET status = 'expired' WHERE "
        + _FIRST.format("billing_paymentsession WHERE status = 'completed'"),
        {"sessions_paid"},
    ),
    "a session that waits for nothing": (
        "UPDATE billing_paymentsession SET attempt_id = id WHERE "
        + _FIRST.format("billing_paymentsession WHERE status = 'processing'"),
        {"sessions_wait"},
    ),
    "a payment's fee": (
        "UPDATE billing_payment SET fee = fee + 1 WHERE " + _FIRST.format("billing_payment WHERE status = 'completed'"),
        {"payments_earned"},
    ),
    "a use of a payment link": (
        "UPDATE billing_paymentlink SET uses = 0, completed = 0",
        {"payment_links_used"},
    ),
    "an order that nothing pays for": (
        "UPDATE billing_linkorder SET payment_id = merchant_id",
        {"link_orders_paid"},
    ),
    "an authorization of somebody else": (
        "UPDATE billing_authorization SET customer_id = merchant_id",
        {"authorizations_accepted"},
    ),
    "a guard of sessions dropped": (
        "DROP INDEX one_open_session_per_entity",
        {"checkouts_once"},
    ),
    "a rebate beyond its invoice lost": (
        f"DELETE FROM billing_forgonerebate WHERE {_FIRST.format('billing_forgonerebate')}",
        {"rebates_hold_at_zero"},
    ),
    # wallets
    "a wallet's balance": (
        f"UPDATE billing_wallet SET balance = balance + 1 WHERE {_PREPAID}",
        {"balance_is_lots", "balance_is_postings"},
    ),
    "a wallet's spent": (
        f"UPDATE billing_wallet SET spent = spent + 1 WHERE {_PREPAID}",
        {"spent_is_unsettled"},
    ),
    "a wallet's held": (
        f"UPDATE billing_wallet SET held = held + 1 WHERE {_PREPAID}",
        {"budgets_held", "held_is_reserved"},
    ),
    "what was charged to a wallet": (
        f"UPDATE billing_wallet SET used = used + 1 WHERE {_PREPAID}",
        {"budgets_spent", "used_is_charged"},
    ),
    "a wallet's charge_seq": (
        f"UPDATE billing_wallet SET charge_seq = charge_seq + 1 WHERE {_PREPAID}",
        {"charges_numbered"},
    ),
    "a wallet's settled_seq": (
        f"UPDATE billing_wallet SET settled_seq = settled_seq - 1 WHERE {_PREPAID}",
        {"plan_hours", "customer_hours", "invoice_rollups", "settlements_tile", "spent_is_unsettled"},
    ),
    "a wallet overdrawn": (
        (
            "ALTER TABLE billing_wallet DROP CONSTRAINT prepaid_never_overspent; "
            f"UPDATE billing_wallet SET held = balance WHERE {_PREPAID}"
        ),
        {"budgets_held", "held_is_reserved", "prepaid_covered"},
    ),
    "a limit exceeded": (
        f"UPDATE billing_wallet SET credit_limit = -(10^12) WHERE {_CREDIT}",
        {"credit_limit"},
    ),
    "a wallet forgotten in the queue": (
        f"DELETE FROM billing_unsettledwallet WHERE wallet_id = (SELECT id FROM billing_wallet WHERE {_PREPAID})",
        {"unsettled_queued"},
    ),
    "an amount that is none": (
        (
            "ALTER TABLE billing_settlement DROP CONSTRAINT settlement_is_a_number; "
            f"UPDATE billing_settlement SET gross = 'NaN' WHERE {_FIRST.format('billing_settlement')}"
        ),
        {"numbers_are_numbers", "settlements_sum"},
    ),
    "the end of a lot": (
        "UPDATE billing_creditlot SET expires_at = now() + interval '1 year' WHERE name = 'left'",
        {"lapses_seen"},
    ),
    "a lot": (
        (
            "UPDATE billing_creditlot SET remaining = remaining - 1 "
            f"WHERE kind = 'paid' AND wallet_id = (SELECT id FROM billing_wallet WHERE {_PREPAID})"
        ),
        {"balance_is_lots", "lots_drawn"},
    ),
    "a draw lost": (
        f"DELETE FROM billing_lotdraw WHERE {_FIRST.format('billing_lotdraw')}",
        {"lots_drawn"},
    ),
    "credit's removed part": (
        f"UPDATE billing_creditlot SET removed = removed - 1, remaining = remaining + 1 WHERE {_LOST}",
        {"balance_is_lots", "lapses_seen", "lots_removed", "promotional_is_lots"},
    ),
    "a removal from credit lost": (
        f"DELETE FROM billing_lotremoval WHERE lot_id = (SELECT id FROM billing_creditlot WHERE {_LOST})",
        {"credit_posted", "lots_removed"},
    ),
    "a withdrawal that was not paid": (
        "UPDATE billing_withdrawal SET by_hand = 'paid' WHERE by_hand = 'due'",
        {"withdrawals_posted", "withdrawals_parted"},
    ),
    "a withdrawal that calls itself ended": (
        "UPDATE billing_withdrawal SET state = 'paid' WHERE state = 'approved'",
        {"withdrawals_parted"},
    ),
    "what a withdrawal has put back": (
        "UPDATE billing_withdrawal SET returned = returned + 1 WHERE by_hand = 'paid'",
        {"withdrawals_posted", "withdrawals_parted"},
    ),
    "what a withdrawal gives cards": (
        "UPDATE billing_withdrawal SET to_cards = to_cards - 1 WHERE by_hand = 'paid'",
        {"withdrawals_posted", "withdrawals_parted"},
    ),
    "a withdrawal's refund that belongs to none": (
        "UPDATE billing_paymentrefund SET withdrawal_id = NULL WHERE withdrawal_id IS NOT NULL",
        {"refunds_posted", "withdrawals_parted"},
    ),
    "a payout's amount": (
        "UPDATE billing_payout SET amount = amount + 1 WHERE state = 'paid'",
        {"payouts_posted"},
    ),
    "a payout lost": (
        "DELETE FROM billing_payout WHERE state = 'failed'",
        {"payouts_posted"},
    ),
    "a key of payouts": (
        "ALTER TABLE billing_payout DROP CONSTRAINT payout_once_per_key",
        {"paid_out_once"},
    ),
    "a wallet that nobody watches any more": (
        f"UPDATE billing_wallet SET watched_below = NULL WHERE {_PREPAID}",
        {"wallets_watched"},
    ),
    "credit that was paid for": (
        "UPDATE billing_creditlot SET kind = 'paid' WHERE name = 'left'",
        {"credit_posted", "promotional_is_lots"},
    ),
    "credit that the ledger does not know": (
        "UPDATE billing_entry SET reference_id = customer_id WHERE kind = 'credit_voided'",
        {"credit_posted"},
    ),
    # settlements and the ledger
    "a settlement's sum": (
        f"UPDATE billing_settlement SET gross = gross + 1 WHERE {_FIRST.format('billing_settlement')}",
        {"settlements_sum"},
    ),
    "a settlement lost": (
        f"DELETE FROM billing_settlement WHERE {_FIRST.format('billing_settlement')}",
        {"settlements_tile"},
    ),
    "a settlement's range": (
        (
            "UPDATE billing_settlement SET last_seq = last_seq - 1 "
            "WHERE id = (SELECT id FROM billing_settlement WHERE first_seq < last_seq ORDER BY gross DESC LIMIT 1)"
        ),
        {"settlements_tile"} | _SETTLED_SUMS,
    ),
    "a balance that is kept": (
        (
            "UPDATE billing_account SET balance = balance + 1 "
            "WHERE id = (SELECT id FROM billing_account WHERE kind = 'clearing' LIMIT 1)"
        ),
        {"accounts_kept"},
    ),
    "a balance kept that is not": (
        (
            "UPDATE billing_account SET balance = 1 "
            "WHERE id = (SELECT id FROM billing_account WHERE kind = 'revenue' LIMIT 1)"
        ),
        {"accounts_kept"},
    ),
    "a posting's amount": (
        f"UPDATE billing_posting SET amount = amount + 1 WHERE {_POSTED}",
        {"balance_is_postings", "settlements_posted"},
    ),
    "a posting turned round": (
        (
            "UPDATE billing_posting SET debit_account_id = credit_account_id, credit_account_id = debit_account_id "
            f"WHERE {_POSTED}"
        ),
        {"balance_is_postings", "settlements_posted"},
    ),
    "a posting lost": (
        f"DELETE FROM billing_posting WHERE {_POSTED}",
        {"balance_is_postings", "entries_complete", "settlements_posted"},
    ),
    "a posting to nowhere": (
        f"UPDATE billing_posting SET credit_account_id = entry_id WHERE {_POSTED}",
        {"ledger_closes", "postings_at_home", "settlements_posted"},
    ),
    "a posting of another currency": (
        f"UPDATE billing_posting SET currency = 'EUR' WHERE {_POSTED}",
        {"postings_at_home"},
    ),
    "an entry lost": (
        f"DELETE FROM billing_entry WHERE {_ENTRY}",
        {"postings_at_home", "settlements_posted"},
    ),
    "a top-up's entry": (
        (
            "UPDATE billing_posting SET amount = amount - 1 "
            "WHERE entry_id = (SELECT id FROM billing_entry WHERE kind = 'top_up_received' LIMIT 1)"
        ),
        {"accounts_kept", "balance_is_postings", "payments_booked", "top_ups_posted"},
    ),
    "a top-up lost": (
        f"DELETE FROM billing_topup WHERE {_FIRST.format('billing_topup')}",
        {"top_ups_posted"},
    ),
    # invoices
    "an invoice's total": (
        f"UPDATE billing_invoice SET grand_total = grand_total + 1 WHERE {_ISSUED}",
        {"documents_agree", "invoice_totals", "invoices_unpaid"},
    ),
    "an invoice's rounding": (
        (
            "UPDATE billing_invoice SET rounding = rounding + 1, grand_total = grand_total + 1, "
            f"unpaid_amount = unpaid_amount + 1, owed_amount = owed_amount + 1 WHERE {_ISSUED}"
        ),
        {"documents_agree", "invoices_posted", "receivable_is_unpaid"},
    ),
    "an invoice's number": (
        f"UPDATE billing_invoice SET number = 'INV-000009' WHERE {_ISSUED}",
        {"documents_agree", "documents_kept", "invoice_numbers"},
    ),
    "an invoice's number given twice": (
        f"UPDATE billing_invoice SET number = 'INV-000001' WHERE {_ISSUED}",
        {"documents_agree", "documents_kept", "invoice_numbers"},
    ),
    "an additional invoice that nobody closes": (
        (
            "UPDATE billing_subscription SET billing_due_at = NULL WHERE next_invoice_id IN "
            "(SELECT id FROM billing_invoice WHERE is_additional)"
        ),
        {"additional_open"},
    ),
    "an additional invoice that is never issued": (
        "UPDATE billing_invoice SET status = 'cancelled' WHERE is_additional AND status = 'closing'",
        {"cancelled_come_to_nothing"},
    ),
    "what a credit note gives back instead": (
        "UPDATE billing_creditnote SET landed_on_id = NULL WHERE landed_on_id IS NOT NULL",
        {"credit_notes_moved"},
    ),
    "an invoice lost": (
        f"DELETE FROM billing_invoice WHERE {_ISSUED}",
        {"charges_at_home", "coupons_within_worth", "invoice_lines", "invoice_numbers", "invoices_tile"}
        | {"documents_kept", "receivable_is_unpaid"},
    ),
    "an invoice's period": (
        f"UPDATE billing_invoice SET period_end = period_end - interval '1 day' WHERE {_ISSUED}",
        {"invoices_tile"},
    ),
    "an invoice that counts less": (
        f"UPDATE billing_invoice SET prepaid_last_seq = 1 WHERE {_ISSUED}",
        {"invoice_lines", "invoices_closed"},
    ),
    "an open invoice numbered": (
        (
            "UPDATE billing_invoice SET number = 'INV-000004' "
            "WHERE id = (SELECT min(id::text)::uuid FROM billing_invoice WHERE status = 'active')"
        ),
        {
            "documents_kept",
            "invoice_numbers",
            "invoice_totals",
            "invoices_open",
            "invoices_posted",
            "true_ups_recomputed",
        },
    ),
    "a line": (
        f"UPDATE billing_invoiceline SET gross = gross + 1 WHERE {_LINE}",
        {"invoice_lines", "invoice_totals"},
    ),
    "a line lost": (
        f"DELETE FROM billing_invoiceline WHERE {_LINE}",
        {"coupons_leave_nothing_negative", "invoice_lines", "invoice_totals"},
    ),
    "a fee billed twice": (
        _copy("billing_invoiceline", "kind = 'fee'", position="99", id="gen_random_uuid()"),
        {"fees_billed_once", "invoice_totals"},
    ),
    # what is owed, and credited
    "an invoice paid by nobody": (
        (
            "UPDATE billing_invoice SET unpaid_amount = 0, paid_amount = paid_amount + unpaid_amount, status = 'paid' "
            f"WHERE {_OWED}"
        ),
        {"invoices_unpaid", "receivable_is_unpaid"},
    ),
    "an invoice that owes less": (
        f"UPDATE billing_invoice SET unpaid_amount = unpaid_amount - 1 WHERE {_OWED}",
        {"invoices_unpaid", "receivable_is_unpaid"},
    ),
    "an invoice that calls itself paid": (
        f"UPDATE billing_invoice SET status = 'paid' WHERE {_OWED}",
        {"invoices_stand"},
    ),
    "a payment that was not booked": (
        (
            "INSERT INTO billing_invoicepayment (bucket, id, customer_id, merchant_id, invoice_id, kind, amount, "
            "currency, source_id, reference, paid_at, created_at) "
            "SELECT bucket, id, customer_id, merchant_id, id, 'outside', 1, "
            f"currency, id, '', now(), now() FROM billing_invoice WHERE {_OWED}"
        ),
        {"invoice_payments_posted", "invoices_unpaid"},
    ),
    "a credit note's total": (
        f"UPDATE billing_creditnote SET subtotal = subtotal + 1, rounding = rounding - 1 WHERE {_CREDITED}",
        {"documents_agree", "credit_notes_charged"},
    ),
    "a credit note that goes elsewhere": (
        f"UPDATE billing_creditnote SET to_receivable = to_receivable - 1, to_card = 1 WHERE {_CREDITED}",
        {"credit_notes_charged", "credit_notes_posted", "credit_notes_refunded", "invoices_unpaid"},
    ),
    "a credit note lost": (
        f"DELETE FROM billing_creditnote WHERE {_CREDITED}",
        {"documents_kept", "charges_at_home", "credit_note_numbers", "credit_notes_charged", "invoices_unpaid"},
    ),
    "a credit note of more than the invoice": (
        (
            "ALTER TABLE billing_creditnote DROP CONSTRAINT credit_note_adds_up; "
            f"UPDATE billing_creditnote SET total = total * 100 WHERE {_CREDITED}"
        ),
        {"documents_agree", "credit_notes_within"},
    ),
    "a credit note whose refund is another": (
        f"UPDATE billing_creditnote SET refund_id = id WHERE {_FIRST.format('billing_creditnote WHERE to_card > 0')}",
        {"credit_notes_refunded"},
    ),
    "a payment that is more": (
        f"UPDATE billing_invoicepayment SET amount = amount + 1 WHERE {_FIRST.format('billing_invoicepayment')}",
        {"invoice_payments_posted", "invoices_unpaid"},
    ),
    "a write-off that nobody made": (
        "UPDATE billing_invoice SET written_off_at = NULL WHERE written_off_amount > 0",
        {"invoices_stand"},
    ),
    "a credit note's line": (
        f"UPDATE billing_creditnoteline SET fee = fee + 1 WHERE {_FIRST.format('billing_creditnoteline')}",
        {"credit_notes_charged"},
    ),
    "a manual line": (
        f"UPDATE billing_manualline SET gross = gross + 1 WHERE {_FIRST.format('billing_manualline')}",
        {"manual_lines_charged"},
    ),
    # sums that people read
    "an invoice's running sum": (
        f"UPDATE billing_invoicerollup SET gross = gross + 1 WHERE {_FIRST.format('billing_invoicerollup')}",
        {"invoice_rollups"},
    ),
    "a customer's hour": (
        f"UPDATE billing_customerrollup SET net = net + 1 WHERE {_FIRST.format('billing_customerrollup')}",
        {"customer_hours", "merchant_hours"},
    ),
    "a merchant's hour": (
        f"UPDATE billing_merchantrollup SET net = net + 1 WHERE {_FIRST.format('billing_merchantrollup')}",
        {"merchant_hours"},
    ),
    "a plan's hour": (
        f"UPDATE billing_planrollup SET net = net + 1 WHERE {_FIRST.format('billing_planrollup')}",
        {"plan_hours"},
    ),
    "an hour of another plan's": (
        (
            "UPDATE billing_planrollup SET plan_id = merchant_id WHERE ctid = (SELECT min(r.ctid) "
            "FROM billing_planrollup r WHERE NOT EXISTS (SELECT FROM billing_subscription s "
            "WHERE s.bucket = r.bucket AND s.spells IS NOT NULL))"
        ),
        {"plan_hours"},
    ),
    # reservations
    "a reservation's parts": (
        (
            "ALTER TABLE entitlements_reservation DROP CONSTRAINT reservation_adds_up; "
            f"UPDATE entitlements_reservation SET released = released + 1 WHERE {_CAPTURED}"
        ),
        {"reservations_add_up"},
    ),
    "a reservation's capture": (
        f"UPDATE entitlements_reservation SET captured = captured + 1, granted = granted + 1 WHERE {_CAPTURED}",
        {"captures_charged"},
    ),
    "a reservation's hold": (
        f"UPDATE entitlements_reservation SET held = held - 1, released = released + 1 WHERE {_OPEN}",
        {"budgets_held", "held_is_reserved"},
    ),
    "a reservation lost": (
        f"DELETE FROM entitlements_reservation WHERE {_OPEN}",
        {"budgets_held", "budgets_spent", "captures_charged", "held_is_reserved"},
    ),
    # budgets
    "what a budget has spent": (
        "UPDATE entitlements_budgetcounter SET spent = spent + 1 WHERE value = 'y'",
        {"budgets_spent"},
    ),
    "what a budget holds": (
        "UPDATE entitlements_budgetcounter SET held = held + 1 WHERE value = 'y'",
        {"budgets_held"},
    ),
    "what a budget left out": (
        f"UPDATE entitlements_budgetcounter SET base = base + 1 WHERE {_MARK}",
        {"budgets_spent"},
    ),
    "a budget that counts for itself": (
        f"UPDATE entitlements_budgetcounter SET base = NULL WHERE {_MARK}",
        {"budgets_held", "budgets_marked", "budgets_spent"},
    ),
    "a budget's window": (
        (
            "UPDATE entitlements_budgetcounter SET window_start = window_end, window_end = 'infinity' "
            "WHERE budget_id = (SELECT id FROM entitlements_budget WHERE \"window\" = 'month')"
        ),
        {"budgets_spent"},
    ),
    "a budget's counter lost": (
        "DELETE FROM entitlements_budgetcounter WHERE value = 'y'",
        {"budgets_spent"},
    ),
    "a budget's counter of nobody": (
        _copy("entitlements_budgetcounter", "value = 'y'", value="'q'", spent="1"),
        {"budgets_spent"},
    ),
    "what units a reservation holds": (
        f"UPDATE entitlements_reservation SET earmarks = NULL WHERE {_OPEN}",
        {"budgets_held"},
    ),
    "a budget of another merchant": (
        "UPDATE entitlements_budget SET merchant_id = customer_id WHERE \"window\" = 'month'",
        {"budgets_at_home"},
    ),
    "a book without its budgets": (
        "UPDATE customers_book SET budget_version = 0 WHERE budget_version > 0",
        {"budgets_at_home"},
    ),
    "a reservation of another merchant": (
        f"UPDATE entitlements_reservation SET merchant_id = customer_id WHERE {_OPEN}",
        {"reservations_at_home"},
    ),
    # entitlements and grants
    "what an entitlement has left": (
        'UPDATE entitlements_entitlement SET state = replace(state, \'"left":"\', \'"left":"1\') WHERE ' + _METERED,
        {"allowances_repeated"},
    ),
    "what an entitlement allows": (
        (
            "UPDATE entitlements_entitlement SET template = jsonb_set(template, '{preserveOverageAtReset}', 'false') "
            f"WHERE {_METERED}"
        ),
        {"allowances_repeated"},
    ),
    "what an entitlement has set aside": (
        'UPDATE entitlements_entitlement SET state = state::jsonb || \'{"held": "1"}\' WHERE ' + _METERED,
        {"allowances_repeated", "units_reserved"},
    ),
    "units held that are not set aside": (
        "UPDATE entitlements_reservation SET units = NULL WHERE state = 'open' AND units IS NOT NULL",
        {"units_reserved"},
    ),
    "a movement's units": (
        f"UPDATE entitlements_movement SET units = units + 1 WHERE {_MOVED.format('used')}",
        {"allowances_repeated", "use_covered"},
    ),
    "what a movement drew": (
        f"UPDATE entitlements_movement SET draws = '[]' WHERE {_MOVED.format('used')}",
        {"allowances_repeated", "use_covered"},
    ),
    "a movement lost": (
        f"DELETE FROM entitlements_movement WHERE {_MOVED.format('used')}",
        {"allowances_repeated", "use_covered"},
    ),
    "what a correction returned": (
        f"UPDATE entitlements_movement SET draws = '[]' WHERE {_MOVED.format('returned')}",
        {"allowances_repeated", "use_returned"},
    ),
    "what a charge is spared": (
        "UPDATE billing_charge SET covered = covered - 1 WHERE covered = 60.5",
        {"counters_counted", "invoice_lines", "invoice_rollups", "usage_recomputed", "use_covered"},
    ),
    "use taken from nothing": (
        "UPDATE billing_charge SET covered = NULL WHERE covered = 0 AND quantity = 1",
        {"use_covered", "use_moves"},
    ),
    "a grant's amount": (
        "UPDATE entitlements_grant SET amount = amount + 1 WHERE idempotency_key = 'bought'",
        {"allowances_repeated", "grants_granted"},
    ),
    "a grant that is with another entitlement": (
        (
            "UPDATE entitlements_grant SET entitlement_id = (SELECT entitlement_id FROM entitlements_movement "
            "WHERE kind = 'carried') WHERE id = (SELECT source_id FROM entitlements_movement WHERE kind = 'carried')"
        ),
        {"grants_carried"},
    ),
    "what a grant had left when it was carried over": (
        "UPDATE entitlements_movement SET units = units + 1 WHERE kind = 'carried'",
        {"grants_carried"},
    ),
    "what is held of an entitlement that another takes the place of": (
        "UPDATE entitlements_movement SET units = units + 1 WHERE kind = 'taken'",
        {"holds_handed_over"},
    ),
    "an entitlement that does not follow its plan": (
        (
            "UPDATE entitlements_entitlement SET template = jsonb_set(template, '{isSoftLimit}', 'false'), "
            "created_at = active_from - interval '1 hour' "
            "WHERE id = (SELECT entitlement_id FROM entitlements_movement WHERE kind = 'taken')"
        ),
        {"allowances_repeated", "plans_followed"},
    ),
    "what a correction restores": (
        "UPDATE entitlements_movement SET position = 7 WHERE kind = 'restored'",
        {"use_restored"},
    ),
    "a grant that is not voided": (
        "UPDATE entitlements_grant SET voided_at = NULL WHERE voided_at IS NOT NULL",
        {"grants_granted"},
    ),
    "a grant that was paid for": (
        "UPDATE entitlements_grantpurchase SET grant_id = NULL",
        {"purchases_granted"},
    ),
    "a grant lost": (
        "DELETE FROM entitlements_grant WHERE idempotency_key = 'bought'",
        {"allowances_repeated", "grants_carried", "grants_granted"},
    ),
    "an entitlement the book knows nothing of": (
        (
            "UPDATE customers_book SET is_entitled = false "
            f"WHERE customer_id = (SELECT customer_id FROM entitlements_entitlement WHERE {_METERED})"
        ),
        {"entitlements_at_home"},
    ),
    "an entitlement of another merchant": (
        "UPDATE entitlements_entitlement SET merchant_id = customer_id WHERE state IS NULL",
        {"entitlements_at_home"},
    ),
    "a price that includes nothing": (
        f"UPDATE billing_priceversion SET feature_id = id WHERE {_INCLUDING}",
        {"prices_include"},
    ),
    "a guard of entitlements dropped": (
        "DROP INDEX entitled_once_per_feature",
        {"entitlements_once"},
    ),
    # documents
    "what a document says": (
        f"UPDATE billing_document SET content = replace(content, 'Northwind', 'Southwind') WHERE {_PAPER}",
        {"documents_unaltered"},
    ),
    "what a document comes to": (
        f"""UPDATE billing_document d SET content = c.content, digest = sha256(convert_to(c.content, 'UTF8'))
            FROM (SELECT id, jsonb_set(content::jsonb, '{{totals,rounding}}', '"0.07"')::text AS content
                  FROM billing_document WHERE {_PAPER}) AS c WHERE d.id = c.id""",
        {"documents_agree"},
    ),
    "a document lost": (f"DELETE FROM billing_document WHERE {_PAPER}", {"documents_kept", "document_files_unaltered"}),
    "a document's PDF": (
        f"UPDATE billing_documentfile SET pdf = 'x' WHERE document_{_PAPER}",
        {"document_files_unaltered"},
    ),
    # where things belong, and what keeps them unique
    "a subscription of another mode": (
        f"UPDATE billing_subscription SET merchant_id = customer_id WHERE {_BUSY}",
        {"plan_hours", "charges_at_home", "events_at_home", "modes_apart", "reservations_at_home"},
    ),
    "a bucket": (
        (
            "UPDATE billing_account SET bucket = (bucket + 1) % 256 "
            "WHERE id = (SELECT id FROM billing_account WHERE kind = 'promotions' LIMIT 1)"
        ),
        {"ids_end_in_bucket", "ledger_closes", "postings_at_home"},
    ),
    "a key in clear": (
        (
            "INSERT INTO merchants_apikey (id, merchant_id, name, hint, digest, scopes, created_at) "
            "SELECT id, id, 'x', 'x', 'fth_sk_test_secret', '{}', now() FROM merchants_merchant LIMIT 1"
        ),
        {"keys_hashed"},
    ),
    "a guard dropped": (
        "ALTER TABLE metering_usageevent DROP CONSTRAINT usage_event_once_per_key",
        {"keys_once"},
    ),
    "a guard of reservations dropped": (
        "DROP INDEX reservation_once_per_key",
        {"reservation_keys_once"},
    ),
}

CONTROLS |= PAYMENTS
