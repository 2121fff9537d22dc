from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rollback", "0002_units_say_what_they_do"),
    ]

    operations = [
        migrations.AlterField(
            model_name="snapshot",
            name="before",
            field=models.JSONField(blank=True, null=True),
        ),
    ]
