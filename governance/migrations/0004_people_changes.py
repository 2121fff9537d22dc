import django.db.models.deletion
import django_fsm
import governance.models.states
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0003_drafts_count_their_edits"),
    ]

    operations = [
        migrations.CreateModel(
            name="PeopleChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("limit", "Limit"),
                            ("roles", "Roles"),
                            ("manager", "Reporting line"),
                            ("enabled", "Account"),
                            ("owner", "Owner of an agent"),
                            ("shifts", "On-call roster"),
                        ],
                        max_length=8,
                    ),
                ),
                ("target", models.CharField(blank=True, max_length=60)),
                ("was", models.JSONField(blank=True, null=True)),
                ("becomes", models.JSONField(blank=True, null=True)),
                ("reason", models.CharField(max_length=300)),
                (
                    "state",
                    django_fsm.FSMField(
                        choices=[
                            ("open", "Waits for a second person"),
                            ("confirmed", "Confirmed"),
                            ("refused", "Refused"),
                            ("withdrawn", "Withdrawn"),
                            ("lapsed", "Lapsed"),
                            ("stale", "Out of date"),
                        ],
                        default="open",
                        max_length=50,
                        protected=True,
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("note", models.CharField(blank=True, max_length=300)),
                (
                    "agent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="governance.agent",
                    ),
                ),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "ended_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "open")),
                        fields=["due_at"],
                        name="people_change_due",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                ["confirmed", "lapsed", "open", "refused", "stale", "withdrawn"],
                            )
                        ),
                        name="people_change_known_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("due_at__isnull", False),
                                ("ended_at__isnull", True),
                                ("state", "open"),
                            ),
                            models.Q(
                                models.Q(("state", "open"), _negated=True),
                                ("due_at__isnull", True),
                                ("ended_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="people_change_open_has_a_clock",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "confirmed"), _negated=True),
                            models.Q(
                                ("ended_by__isnull", False),
                                models.Q(("ended_by", models.F("asked_by")), _negated=True),
                                models.Q(
                                    ("person__isnull", True),
                                    models.Q(("ended_by", models.F("person")), _negated=True),
                                    _connector="OR",
                                ),
                            ),
                            _connector="OR",
                        ),
                        name="people_change_second_is_another",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("agent__isnull", True),
                                ("kind__in", ["limit", "roles", "manager", "enabled"]),
                                ("person__isnull", False),
                                ("target", ""),
                            ),
                            models.Q(
                                ("agent__isnull", False),
                                ("kind", "owner"),
                                ("person__isnull", True),
                                ("target", ""),
                            ),
                            models.Q(
                                ("agent__isnull", True),
                                ("kind", "shifts"),
                                ("person__isnull", True),
                                models.Q(("target", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="people_change_is_of_one",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("person__isnull", False), ("state", "open")),
                        fields=("person", "kind"),
                        name="people_change_one_open_a_person",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("agent__isnull", False), ("state", "open")),
                        fields=("agent",),
                        name="people_change_one_open_an_agent",
                    ),
                ],
            },
            bases=(governance.models.states.Stateful, models.Model),
        ),
    ]
