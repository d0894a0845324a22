"""What was done to one thing is found without reading all of a merchant's audit log."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("merchants", "0008_allowed_origins")]

    operations = [
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["merchant", "target"],
                condition=~models.Q(target=""),
                name="audit_by_target",
            ),
        ),
    ]
