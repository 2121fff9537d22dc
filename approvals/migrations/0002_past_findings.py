from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0001_initial"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="finding",
            index=models.Index(
                condition=models.Q(("cleared_at__isnull", False)),
                fields=["-cleared_at", "-id"],
                name="finding_past",
            ),
        ),
    ]
