import datetime
import django.contrib.auth.models
import django.contrib.auth.validators
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import django_fsm
import governance.models.people
import governance.models.states
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('chain', models.CharField(max_length=40)),
                ('seq', models.PositiveIntegerField()),
                ('kind', models.CharField(max_length=60)),
                ('actor', models.CharField(max_length=120)),
                ('on_behalf_of', models.CharField(blank=True, max_length=120)),
                ('facts', models.JSONField(default=dict)),
                ('cause', models.UUIDField()),
                ('at', models.DateTimeField()),
                ('prev_hash', models.CharField(max_length=64)),
                ('hash', models.CharField(max_length=64)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('chain', 'seq'), name='event_one_per_place'), models.CheckConstraint(condition=models.Q(('seq__gte', 1)), name='event_seq_from_one')],
            },
        ),
        migrations.CreateModel(
            name='ChainHead',
            fields=[
                ('name', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('length', models.PositiveBigIntegerField()),
                ('last_hash', models.CharField(max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name='DemoClock',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('real_start', models.DateTimeField()),
                ('business_start', models.DateTimeField()),
                ('speed', models.FloatField()),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='demo_clock_is_one_row'), models.CheckConstraint(condition=models.Q(('speed__gt', 0)), name='demo_clock_goes_forward')],
            },
        ),
        migrations.CreateModel(
            name='Department',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.SlugField(max_length=60, unique=True)),
                ('name', models.CharField(max_length=120)),
            ],
        ),
        migrations.CreateModel(
            name='Heartbeat',
            fields=[
                ('name', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('beat_at', models.DateTimeField()),
                ('facts', models.JSONField(blank=True, default=dict)),
            ],
        ),
        migrations.CreateModel(
            name='Role',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.SlugField(max_length=60, unique=True)),
                ('name', models.CharField(max_length=120)),
            ],
        ),
        migrations.CreateModel(
            name='Seal',
            fields=[
                ('number', models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ('root', models.CharField(max_length=64)),
                ('size', models.PositiveIntegerField()),
                ('prev_hash', models.CharField(max_length=64)),
                ('hash', models.CharField(max_length=64)),
                ('key_id', models.CharField(max_length=16)),
                ('signature', models.CharField(max_length=128)),
                ('sealed_at', models.DateTimeField()),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('number__gte', 1)), name='seal_number_from_one'), models.CheckConstraint(condition=models.Q(('size__gte', 1)), name='seal_of_something')],
            },
        ),
        migrations.CreateModel(
            name='TaskAttempt',
            fields=[
                ('task', models.CharField(max_length=100, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('first_at', models.DateTimeField()),
                ('last_at', models.DateTimeField()),
                ('last_error', models.CharField(blank=True, max_length=300)),
                ('dropped_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='ActionType',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.SlugField(max_length=60)),
                ('version', models.PositiveIntegerField(default=1)),
                ('state', django_fsm.FSMField(choices=[('draft', 'Draft'), ('tested', 'Tested'), ('production', 'Production'), ('retired', 'Retired')], default='draft', max_length=50, protected=True)),
                ('name', models.CharField(max_length=120)),
                ('title', models.CharField(max_length=200)),
                ('shown_facts', models.JSONField(default=list)),
                ('schema', models.JSONField()),
                ('example', models.JSONField()),
                ('amount_pointer', models.CharField(blank=True, max_length=200)),
                ('counterparty_pointer', models.CharField(blank=True, max_length=200)),
                ('resource_key', models.CharField(blank=True, max_length=300)),
                ('business_key', models.CharField(max_length=300)),
                ('connector', models.CharField(max_length=60)),
                ('connector_config', models.JSONField(blank=True, default=dict)),
                ('snapshot_plan', models.JSONField(blank=True, default=list)),
                ('records_touched', models.PositiveSmallIntegerField(default=1)),
                ('reversal', models.CharField(choices=[('none', 'Cannot be undone'), ('compensate', 'Compensate with a reverse action'), ('restore', 'Restore from a snapshot')], default='none', max_length=12)),
                ('reversal_code', models.CharField(blank=True, max_length=60)),
                ('reversal_words', models.TextField(blank=True)),
                ('sla', models.DurationField(default=datetime.timedelta(seconds=14400))),
                ('severity', models.CharField(choices=[('low', 'Low'), ('medium', 'Medium'), ('high', 'High')], default='low', max_length=6)),
                ('impact', models.CharField(choices=[('low', 'Low'), ('medium', 'Medium'), ('high', 'High')], default='low', max_length=6)),
                ('impact_bands', models.JSONField(blank=True, default=list)),
                ('is_financial', models.BooleanField(default=False)),
                ('is_critical', models.BooleanField(default=False)),
                ('first_no_is_final', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('key', 'version'), name='action_type_version_once'), models.UniqueConstraint(condition=models.Q(('state', 'production')), fields=('key',), name='action_type_one_in_production'), models.CheckConstraint(condition=models.Q(('sla__gt', datetime.timedelta(0))), name='action_type_sla_has_a_length'), models.CheckConstraint(condition=models.Q(('state__in', ['draft', 'production', 'retired', 'tested'])), name='action_type_known_state')],
            },
            bases=(governance.models.states.Stateful, models.Model),
        ),
        migrations.CreateModel(
            name='Person',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('first_name', models.CharField(blank=True, max_length=150, verbose_name='first name')),
                ('last_name', models.CharField(blank=True, max_length=150, verbose_name='last name')),
                ('email', models.EmailField(blank=True, max_length=254, verbose_name='email address')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('name', models.CharField(max_length=120)),
                ('limit_amount', models.DecimalField(blank=True, decimal_places=4, max_digits=20, null=True, validators=[django.core.validators.MinValueValidator(0)])),
                ('limit_currency', models.CharField(blank=True, max_length=3)),
                ('time_zone', models.CharField(default='UTC', max_length=60, validators=[governance.models.people.known_zone])),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('manager', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reports', to=settings.AUTH_USER_MODEL)),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
                ('department', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='people', to='governance.department')),
                ('roles', models.ManyToManyField(blank=True, related_name='people', to='governance.role')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
                'abstract': False,
                'constraints': [models.UniqueConstraint(django.db.models.functions.text.Lower('email'), condition=models.Q(('email', ''), _negated=True), name='person_email_once'), models.CheckConstraint(condition=models.Q(models.Q(('limit_amount__isnull', True), ('limit_currency', '')), models.Q(('limit_amount__gte', 0), ('limit_amount__isnull', False), models.Q(('limit_currency', ''), _negated=True)), _connector='OR'), name='person_limit_has_a_currency'), models.CheckConstraint(condition=models.Q(('manager__isnull', True), models.Q(('manager', models.F('pk')), _negated=True), _connector='OR'), name='person_is_not_their_own_manager')],
            },
            managers=[
                ('objects', django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name='SealedEvent',
            fields=[
                ('event', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='sealed', serialize=False, to='governance.auditevent')),
                ('position', models.PositiveIntegerField()),
                ('seal', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='sealed_events', to='governance.seal')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('seal', 'position'), name='event_one_per_leaf')],
            },
        ),
        migrations.CreateModel(
            name='ContactChannel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('email', 'Email'), ('apprise', 'Chat or pager')], max_length=10)),
                ('address', models.CharField(max_length=500)),
                ('urgent_only', models.BooleanField(default=False)),
                ('confirmed_at', models.DateTimeField(blank=True, null=True)),
                ('refused_at', models.DateTimeField(blank=True, null=True)),
                ('refused_reason', models.CharField(blank=True, max_length=300)),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='channels', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('person', 'kind', 'address'), name='channel_once_a_person')],
            },
        ),
        migrations.CreateModel(
            name='PersonalToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('prefix', models.CharField(max_length=16, unique=True)),
                ('digest', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('disabled_at', models.DateTimeField(blank=True, null=True)),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tokens', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='PolicyVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(unique=True)),
                ('state', django_fsm.FSMField(choices=[('draft', 'Draft'), ('active', 'Active'), ('superseded', 'Superseded'), ('discarded', 'Discarded')], default='draft', max_length=50, protected=True)),
                ('queue_cap', models.DurationField(default=datetime.timedelta(seconds=28800))),
                ('created_at', models.DateTimeField()),
                ('revision', models.PositiveIntegerField(default=0)),
                ('edited_at', models.DateTimeField(blank=True, null=True)),
                ('activated_at', models.DateTimeField(blank=True, null=True)),
                ('activated_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('discarded_at', models.DateTimeField(blank=True, null=True)),
                ('discarded_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('based_on', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='governance.policyversion')),
                ('edited_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('editors', models.ManyToManyField(blank=True, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('state', 'active')), fields=('state',), name='policy_one_active'), models.CheckConstraint(condition=models.Q(('state__in', ['discarded', 'draft']), ('activated_at__isnull', False), _connector='OR'), name='policy_active_since'), models.CheckConstraint(condition=models.Q(models.Q(('discarded_at__isnull', False), ('discarded_by__isnull', False), ('state', 'discarded')), models.Q(models.Q(('state', 'discarded'), _negated=True), ('discarded_at__isnull', True), ('discarded_by__isnull', True)), _connector='OR'), name='policy_discarded_by_somebody'), models.CheckConstraint(condition=models.Q(('state__in', ['active', 'discarded', 'draft', 'superseded'])), name='policy_known_state')],
            },
            bases=(governance.models.states.Stateful, models.Model),
        ),
        migrations.CreateModel(
            name='RosterShift',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('target', models.CharField(max_length=60)),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='shifts', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['target', 'starts_at'], name='shift_of_target')],
                'constraints': [models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('starts_at'))), name='shift_has_a_length')],
            },
        ),
        migrations.CreateModel(
            name='Absence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('set_at', models.DateTimeField()),
                ('cancelled_at', models.DateTimeField(blank=True, null=True)),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='absences', to=settings.AUTH_USER_MODEL)),
                ('set_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('cancelled_at__isnull', True)), fields=['starts_at', 'ends_at'], name='absence_standing')],
                'constraints': [models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('starts_at'))), name='absence_has_a_length')],
            },
        ),
        migrations.CreateModel(
            name='Agent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(max_length=60, unique=True)),
                ('disabled_at', models.DateTimeField(blank=True, null=True)),
                ('webhook_key_version', models.PositiveSmallIntegerField(default=1)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='agents', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='DecisionCell',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('exception', models.CharField(choices=[('timeout', 'Timeout'), ('rejection', 'Rejection'), ('conflict', 'Conflict'), ('system_failure', 'System Failure'), ('policy_violation', 'Policy Violation')], max_length=20)),
                ('severity', models.CharField(choices=[('low', 'Low'), ('medium', 'Medium'), ('high', 'High')], max_length=6)),
                ('impact', models.CharField(choices=[('low', 'Low'), ('medium', 'Medium'), ('high', 'High')], max_length=6)),
                ('response', models.CharField(choices=[('ask_again_extended', 'Ask Again Extended'), ('ask_again', 'Ask Again'), ('delegate', 'Delegate'), ('alternate', 'Alternate'), ('department_head', 'Department Head'), ('hold', 'Hold'), ('retry', 'Retry'), ('retry_tell_oncall', 'Retry Tell Oncall'), ('oncall', 'Oncall'), ('ask_compliance', 'Ask Compliance')], max_length=20)),
                ('source', models.CharField(choices=[('R', 'Runbook'), ('O', 'Ours, where the runbook is silent'), ('local', 'Edited here')], max_length=5)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='cells', to='governance.policyversion')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('exception', 'timeout'), ('response__in', ['ask_again_extended', 'ask_again', 'delegate'])), models.Q(('exception', 'rejection'), ('response__in', ['alternate', 'department_head'])), models.Q(('exception', 'conflict'), ('response', 'hold')), models.Q(('exception', 'system_failure'), ('response__in', ['retry', 'retry_tell_oncall', 'oncall'])), models.Q(('exception', 'policy_violation'), ('response', 'ask_compliance')), _connector='OR'), name='decision_cell_response_of_its_path'), models.UniqueConstraint(fields=('version', 'exception', 'severity', 'impact'), name='decision_cell_once')],
            },
        ),
        migrations.CreateModel(
            name='MatrixRow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('action', models.CharField(blank=True, max_length=60)),
                ('currency', models.CharField(blank=True, max_length=3)),
                ('amount_from', models.DecimalField(blank=True, decimal_places=4, max_digits=20, null=True)),
                ('amount_to', models.DecimalField(blank=True, decimal_places=4, max_digits=20, null=True)),
                ('quorum', models.PositiveSmallIntegerField(default=1)),
                ('approver_person', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('department', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='governance.department')),
                ('executive', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rows', to='governance.policyversion')),
                ('approver_role', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='governance.role')),
            ],
            options={
                'ordering': ['number'],
                'constraints': [models.CheckConstraint(condition=models.Q(('quorum__gte', 1)), name='matrix_row_quorum'), models.CheckConstraint(condition=models.Q(models.Q(('amount_from__isnull', True), ('amount_to__isnull', True), ('currency', '')), models.Q(models.Q(('currency', ''), _negated=True), ('amount_from__gte', 0), ('amount_from__isnull', False), models.Q(('amount_to__isnull', True), ('amount_to__gt', models.F('amount_from')), _connector='OR')), _connector='OR'), name='matrix_row_band'), models.UniqueConstraint(fields=('version', 'number'), name='matrix_row_number_once'), models.CheckConstraint(condition=models.Q(models.Q(('approver_person__isnull', False), ('approver_role__isnull', True)), models.Q(('approver_person__isnull', True), ('approver_role__isnull', False)), _connector='OR'), name='matrix_row_has_one_approver')],
            },
        ),
        migrations.CreateModel(
            name='PathWindow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('path', models.CharField(choices=[('approval', 'Approval'), ('timeout', 'Timeout'), ('rejection', 'Rejection'), ('conflict', 'Conflict'), ('system_failure', 'System Failure'), ('policy_violation', 'Policy Violation'), ('undo', 'Undo')], max_length=20)),
                ('level', models.PositiveSmallIntegerField(choices=[(0, 'First approver'), (1, 'Asked again'), (2, 'Alternate approver'), (3, 'Management'), (4, 'Emergency bypass')])),
                ('window', models.DurationField()),
                ('calendar', models.CharField(blank=True, max_length=60, null=True)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='windows', to='governance.policyversion')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('window__gt', datetime.timedelta(0))), name='path_window_has_a_length'), models.UniqueConstraint(fields=('version', 'path', 'level'), name='path_window_once')],
            },
        ),
        migrations.CreateModel(
            name='PeopleChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('limit', 'Limit'), ('roles', 'Roles'), ('manager', 'Reporting line'), ('enabled', 'Account'), ('owner', 'Owner of an agent'), ('shifts', 'On-call roster')], max_length=8)),
                ('target', models.CharField(blank=True, max_length=60)),
                ('was', models.JSONField(blank=True, null=True)),
                ('becomes', models.JSONField(blank=True, null=True)),
                ('reason', models.CharField(max_length=300)),
                ('state', django_fsm.FSMField(choices=[('open', 'Waits for a second person'), ('confirmed', 'Confirmed'), ('refused', 'Refused'), ('withdrawn', 'Withdrawn'), ('lapsed', 'Lapsed'), ('stale', 'Out of date')], default='open', max_length=50, protected=True)),
                ('asked_at', models.DateTimeField()),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('note', models.CharField(blank=True, max_length=300)),
                ('agent', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='changes', to='governance.agent')),
                ('asked_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('ended_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('person', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='changes', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('state', 'open')), fields=['due_at'], name='people_change_due')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['confirmed', 'lapsed', 'open', 'refused', 'stale', 'withdrawn'])), name='people_change_known_state'), models.CheckConstraint(condition=models.Q(models.Q(('due_at__isnull', False), ('ended_at__isnull', True), ('state', 'open')), models.Q(models.Q(('state', 'open'), _negated=True), ('due_at__isnull', True), ('ended_at__isnull', False)), _connector='OR'), name='people_change_open_has_a_clock'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'confirmed'), _negated=True), models.Q(('ended_by__isnull', False), models.Q(('ended_by', models.F('asked_by')), _negated=True), models.Q(('person__isnull', True), models.Q(('ended_by', models.F('person')), _negated=True), _connector='OR')), _connector='OR'), name='people_change_second_is_another'), models.CheckConstraint(condition=models.Q(models.Q(('agent__isnull', True), ('kind__in', ['limit', 'roles', 'manager', 'enabled']), ('person__isnull', False), ('target', '')), models.Q(('agent__isnull', False), ('kind', 'owner'), ('person__isnull', True), ('target', '')), models.Q(('agent__isnull', True), ('kind', 'shifts'), ('person__isnull', True), models.Q(('target', ''), _negated=True)), _connector='OR'), name='people_change_is_of_one'), models.UniqueConstraint(condition=models.Q(('person__isnull', False), ('state', 'open')), fields=('person', 'kind'), name='people_change_one_open_a_person'), models.UniqueConstraint(condition=models.Q(('agent__isnull', False), ('state', 'open')), fields=('agent',), name='people_change_one_open_an_agent')],
            },
            bases=(governance.models.states.Stateful, models.Model),
        ),
        migrations.CreateModel(
            name='PolicyCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.SlugField(max_length=60)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('name', models.CharField(max_length=200)),
                ('action', models.CharField(blank=True, max_length=60)),
                ('reads', models.CharField(choices=[('payload', 'Payload and request, at submission'), ('target', 'Facts of the target, by the worker')], max_length=8)),
                ('expression', models.CharField(max_length=1000)),
                ('expression_hash', models.CharField(max_length=64)),
                ('on_break', models.CharField(max_length=300)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='checks', to='governance.policyversion')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('version', 'key'), name='policy_check_once')],
            },
        ),
        migrations.CreateModel(
            name='PolicyFinding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('weight', models.CharField(choices=[('hole', 'Hole'), ('warning', 'Warning')], max_length=7)),
                ('key', models.CharField(max_length=200)),
                ('about', models.CharField(max_length=20)),
                ('sentence', models.CharField(max_length=1000)),
                ('since', models.DateTimeField(blank=True, null=True)),
                ('until', models.DateTimeField(blank=True, null=True)),
                ('found_at', models.DateTimeField()),
                ('gone_at', models.DateTimeField(blank=True, null=True)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='findings', to='governance.policyversion')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('gone_at__isnull', True)), fields=('version', 'weight', 'key'), name='policy_finding_one_open')],
            },
        ),
        migrations.CreateModel(
            name='PolicySignature',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('holes', models.JSONField(default=list)),
                ('signed_at', models.DateTimeField()),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='signatures', to='governance.policyversion')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('version', 'person'), name='signature_once_a_person')],
            },
        ),
        migrations.CreateModel(
            name='AgentCredential',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('prefix', models.CharField(max_length=16, unique=True)),
                ('digest', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('disabled_at', models.DateTimeField(blank=True, null=True)),
                ('departments', models.JSONField()),
                ('actions', models.JSONField()),
                ('scopes', models.JSONField(default=governance.models.people.default_scopes)),
                ('agent', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='credentials', to='governance.agent')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Appointment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('office', models.CharField(choices=[('department_head', 'Department Head'), ('resource_owner', 'Resource Owner'), ('oncall_fallback', 'Oncall Fallback'), ('compliance', 'Compliance'), ('head_of_compliance', 'Head Of Compliance'), ('reviewer', 'Reviewer'), ('executive', 'Executive')], max_length=20)),
                ('scope', models.CharField(blank=True, max_length=200)),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='appointments', to='governance.policyversion')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('version', 'office', 'scope', 'person'), name='appointment_once'), models.UniqueConstraint(condition=models.Q(('office__in', ['department_head', 'resource_owner', 'oncall_fallback', 'head_of_compliance'])), fields=('version', 'office', 'scope'), name='appointment_one_holder')],
            },
        ),
        migrations.CreateModel(
            name='MatrixDelegate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
                ('person', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('row', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='delegates', to='governance.matrixrow')),
                ('role', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='governance.role')),
            ],
            options={
                'ordering': ['position'],
                'constraints': [models.UniqueConstraint(fields=('row', 'position'), name='matrix_delegate_position_once'), models.CheckConstraint(condition=models.Q(models.Q(('person__isnull', False), ('role__isnull', True)), models.Q(('person__isnull', True), ('role__isnull', False)), _connector='OR'), name='matrix_delegate_is_one')],
            },
        ),
    ]
