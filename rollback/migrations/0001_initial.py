import django.db.models.deletion
import django_fsm
import governance.models.states
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('approvals', '0001_initial'),
        ('governance', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Drill',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('target', models.CharField(max_length=60)),
                ('started_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('passed', models.BooleanField(blank=True, null=True)),
                ('evidence', models.JSONField(default=list)),
                ('evidence_hash', models.CharField(blank=True, max_length=64)),
                ('signature', models.CharField(blank=True, max_length=128)),
                ('action_type', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='drills', to='governance.actiontype')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('passed__isnull', True), models.Q(('ended_at__isnull', False), models.Q(('evidence_hash', ''), _negated=True), models.Q(('signature', ''), _negated=True)), _connector='OR'), name='drill_passed_has_signed_evidence')],
            },
        ),
        migrations.CreateModel(
            name='Recovery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('pattern', models.CharField(blank=True, choices=[('compensate', 'Compensate'), ('retry', 'Retry'), ('restore', 'Restore')], max_length=10)),
                ('state', django_fsm.FSMField(choices=[('ordered', 'Ordered'), ('planned', 'Planned'), ('running', 'Running'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('lapsed', 'Lapsed')], default='ordered', max_length=50, protected=True)),
                ('reason', models.CharField(max_length=300)),
                ('plan', models.JSONField(blank=True, default=list)),
                ('drift', models.JSONField(blank=True, default=list)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('needed_a_person', models.BooleanField(default=False)),
                ('ordered_at', models.DateTimeField()),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('order', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='recoveries', to='approvals.order')),
                ('request', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='recoveries', to='approvals.actionrequest')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['failed', 'lapsed', 'ordered', 'planned', 'running', 'succeeded'])), name='recovery_known_state'), models.CheckConstraint(condition=models.Q(models.Q(('due_at__isnull', False), ('ended_at__isnull', True), ('state__in', ['ordered', 'planned', 'running'])), models.Q(('ended_at__isnull', False), ('state__in', ['succeeded', 'failed', 'lapsed'])), _connector='OR'), name='recovery_open_has_a_clock'), models.UniqueConstraint(condition=models.Q(('state__in', ['ordered', 'planned', 'running'])), fields=('request',), name='recovery_one_open_a_request')],
            },
            bases=(governance.models.states.Stateful, models.Model),
        ),
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('direction', models.CharField(choices=[('forward', 'Forward'), ('undo', 'Undo')], max_length=7)),
                ('attempt', models.PositiveIntegerField()),
                ('token', models.UUIDField()),
                ('worker', models.CharField(max_length=120)),
                ('state', django_fsm.FSMField(choices=[('running', 'Running'), ('finished', 'Finished'), ('failed', 'Failed'), ('lost', 'Lost')], default='running', max_length=50, protected=True)),
                ('started_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.CharField(blank=True, max_length=500)),
                ('request', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='approvals.actionrequest')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['failed', 'finished', 'lost', 'running'])), name='run_known_state'), models.UniqueConstraint(condition=models.Q(('state', 'running')), fields=('request',), name='run_one_running_a_request'), models.UniqueConstraint(fields=('request', 'direction', 'attempt'), name='run_attempt_once')],
            },
            bases=(governance.models.states.Stateful, models.Model),
        ),
        migrations.CreateModel(
            name='Snapshot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('record', models.CharField(max_length=300)),
                ('version', models.CharField(blank=True, max_length=120)),
                ('before', models.JSONField(blank=True, null=True)),
                ('taken_at', models.DateTimeField()),
                ('after', models.JSONField(blank=True, null=True)),
                ('left_at', models.DateTimeField(blank=True, null=True)),
                ('request', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='snapshots', to='approvals.actionrequest')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('request', 'record'), name='snapshot_once_a_record')],
            },
        ),
        migrations.CreateModel(
            name='Unit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('direction', models.CharField(choices=[('forward', 'Forward'), ('undo', 'Undo')], max_length=7)),
                ('position', models.PositiveIntegerField()),
                ('key', models.CharField(max_length=500)),
                ('name', models.CharField(max_length=200)),
                ('record', models.CharField(blank=True, max_length=300)),
                ('amount', models.DecimalField(blank=True, decimal_places=4, max_digits=20, null=True)),
                ('currency', models.CharField(blank=True, max_length=3)),
                ('body', models.JSONField()),
                ('state', django_fsm.FSMField(choices=[('planned', 'Planned'), ('sent', 'Sent'), ('done', 'Done'), ('not_done', 'Not done'), ('unknown', 'Unknown'), ('reversed', 'Reversed')], default='planned', max_length=50, protected=True)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('done_at', models.DateTimeField(blank=True, null=True)),
                ('reversed_at', models.DateTimeField(blank=True, null=True)),
                ('receipt', models.JSONField(blank=True, null=True)),
                ('in_doubt', models.BooleanField(default=False)),
                ('probed', models.BooleanField(default=False)),
                ('by_hand', models.BooleanField(default=False)),
                ('error', models.CharField(blank=True, max_length=500)),
                ('tries', models.JSONField(blank=True, default=list)),
                ('audited_at', models.DateTimeField(blank=True, null=True)),
                ('request', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='units', to='approvals.actionrequest')),
                ('reverses', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reversal', to='rollback.unit')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('audited_at__isnull', True)), fields=['id'], name='unit_unaudited')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['done', 'not_done', 'planned', 'reversed', 'sent', 'unknown'])), name='unit_known_state'), models.UniqueConstraint(fields=('request', 'direction', 'position'), name='unit_once'), models.UniqueConstraint(condition=models.Q(('sent_at__isnull', False)), fields=('key',), name='unit_key_once'), models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['done', 'reversed']), _negated=True), models.Q(('done_at__isnull', False), ('receipt__isnull', False)), _connector='OR'), name='unit_done_has_a_checkpoint')],
            },
            bases=(governance.models.states.Stateful, models.Model),
        ),
    ]
