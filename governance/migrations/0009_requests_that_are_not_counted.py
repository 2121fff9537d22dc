from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0008_verifications_and_search"),
    ]

    operations = [
        migrations.CreateModel(
            name="Uncounted",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("chain", models.CharField(max_length=40)),
                ("why", models.CharField(max_length=300)),
                ("found_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("chain",), name="uncounted_once"),
                ],
            },
        ),
    ]
