"""Subscribers on their way to newer versions of their plans: whom a rollout was for is reached, and nobody else."""

from merchants.verification import rule

CHECKS = (
    rule(
        "rollouts_lead",
        "what a rollout moves goes from an older version of the plan to the rollout's, and not after it was withdrawn",
        "sub",
        """
        SELECT c.subscription_id, format('rollout %s', c.rollout_id)
        FROM billing_planchange c
        JOIN billing_subscription s ON s.bucket = c.bucket AND s.id = c.subscription_id
        JOIN customers_book b ON b.bucket = c.bucket AND b.customer_id = c.customer_id
        JOIN billing_planversion before ON before.id = c.from_version_id
        JOIN billing_planversion after ON after.id = c.to_version_id
        LEFT JOIN billing_rollout r ON r.id = c.rollout_id
        LEFT JOIN billing_planversion target ON target.id = r.to_version_id
        WHERE c.rollout_id IS NOT NULL AND (
            (after.plan_id, after.number, after.currency, before.plan_id, r.plan_id)
                IS DISTINCT FROM (target.plan_id, target.number, s.currency, target.plan_id, target.plan_id)
            OR before.number >= after.number
            OR (c.status = 'scheduled' AND r.withdrawn_at IS NOT NULL AND r.look_at IS NULL
                AND c.effective_at > coalesce(b.test_clock, now()))
        )
        """,
    ),
    rule(
        "rollouts_reach",
        "once a rollout has looked everywhere, no subscription that it is for stays on an older version",
        "sub",
        """
        SELECT s.id, format('rollout %s', r.id)
        FROM billing_rollout r
        JOIN billing_planversion target ON target.id = r.to_version_id
        JOIN billing_subscription s ON s.plan_id = r.plan_id AND s.status <> 'terminated' AND s.ending_at IS NULL
        JOIN billing_planversion pinned ON pinned.id = s.plan_version_id AND pinned.number < target.number
            AND (pinned.billing_cadence, pinned.tax_behavior) = (target.billing_cadence, target.tax_behavior)
        JOIN billing_planversion offer ON (offer.plan_id, offer.number, offer.currency)
            = (target.plan_id, target.number, s.currency)
        WHERE r.withdrawn_at IS NULL AND r.look_at IS NULL AND NOT EXISTS (
            SELECT FROM billing_planchange c JOIN billing_planversion v ON v.id = c.to_version_id
            WHERE c.bucket = s.bucket AND c.subscription_id = s.id
                AND (c.status = 'scheduled' OR (c.status = 'cancelled' AND c.rollout_id IS NOT NULL AND (
                    c.rollout_id = r.id OR (v.plan_id = r.plan_id AND v.number > target.number)
                )))
        ) AND NOT EXISTS (
            SELECT FROM billing_rollout later
            JOIN billing_planversion v ON v.id = later.to_version_id AND v.number > target.number
                AND (v.billing_cadence, v.tax_behavior) = (pinned.billing_cadence, pinned.tax_behavior)
            JOIN billing_planversion o ON (o.plan_id, o.number, o.currency) = (v.plan_id, v.number, s.currency)
            WHERE later.plan_id = r.plan_id AND later.withdrawn_at IS NULL
        )
        """,
    ),
)
