from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0005_weekly_metrics"),
    ]

    operations = [
        migrations.AddField(
            model_name="taskattempt",
            name="worker",
            field=models.CharField(blank=True, max_length=80),
        ),
    ]
