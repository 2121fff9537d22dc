from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0002_past_findings"),
    ]

    operations = [
        migrations.AddField(
            model_name="actionrequest",
            name="salt",
            field=models.CharField(blank=True, max_length=64),
        ),
    ]
