from django.db import migrations

from governance import ledger_triggers


def install(apps, schema_editor):
    ledger_triggers.install(schema_editor)


def remove(apps, schema_editor):
    ledger_triggers.remove(schema_editor)


class Migration(migrations.Migration):
    dependencies = [("governance", "0001_initial")]

    operations = [migrations.RunPython(install, remove)]
