import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routingapp", "0004_health_check_timeout"),
    ]

    operations = [
        migrations.AddField(
            model_name="routingpolicy",
            name="longest_wait_s",
            field=models.FloatField(
                default=30,
                help_text="For a provider that is rate limited, says when to return (Retry-After) and has no substitute. "
                "Where it would be longer, the caller is told so at once: 429 with Retry-After.",
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="longest wait (s)",
            ),
        ),
    ]
