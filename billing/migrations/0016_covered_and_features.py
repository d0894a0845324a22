from django.db import migrations, models

import billing.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0015_rerating"),
    ]

    operations = [
        migrations.AddField(
            model_name="charge",
            name="covered",
            field=billing.models.fields.QuantityField(null=True),
        ),
        migrations.AddField(
            model_name="priceversion",
            name="entitlement_template",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="priceversion",
            name="feature_id",
            field=models.UUIDField(null=True),
        ),
    ]
