from collections import defaultdict
from itertools import groupby
from operator import itemgetter

import django.db.models.deletion
import django.db.models.functions.comparison
from django.db import migrations, models

DIGIT_BITS = 40


def packed(counts):
    """As `accounting.sketch.pack` did on 2026-11-23, from counts by number of bucket."""
    if not counts:
        return b""
    lowest = min(counts)
    digits = sum(n << (number - lowest) * DIGIT_BITS for number, n in counts.items())
    return (lowest + 1).to_bytes(2, "little") + digits.to_bytes(-(-digits.bit_length() // 8), "little")


def pack_buckets(apps, schema_editor):
    """From a row for each bucket to one for all buckets of an hour. In one query, with as much memory as a batch takes."""
    using = schema_editor.connection.alias
    HourlyUsage, HourlyBucket, HourlySketch, HourlySpread = (
        apps.get_model("accounting", name) for name in ("HourlyUsage", "HourlyBucket", "HourlySketch", "HourlySpread")
    )
    buckets = HourlyBucket.objects.using(using).order_by("usage__hour", "usage_id").values_list(
        "usage__hour", "usage_id", "metric", "bucket", "n"
    )
    for hour, of_hour in groupby(buckets.iterator(chunk_size=10_000), itemgetter(0)):
        counts = defaultdict(lambda: {"latency": {}, "ttft": {}})
        for _, usage_id, metric, bucket, n in of_hour:
            counts[usage_id][metric][bucket] = n
        together = defaultdict(lambda: {"latency": defaultdict(int), "ttft": defaultdict(int)})
        groups = HourlyUsage.objects.using(using).filter(hour=hour).values_list("pk", "model_id", "provider", "adapter_id")
        for usage_id, *group in groups:
            for metric, numbers in counts.get(usage_id, {}).items():
                for number, n in numbers.items():
                    together[tuple(group)][metric][number] += n
        HourlySketch.objects.using(using).bulk_create(
            HourlySketch(usage_id=usage_id, **{metric: packed(numbers) for metric, numbers in of.items()})
            for usage_id, of in counts.items()
        )
        HourlySpread.objects.using(using).bulk_create(
            HourlySpread(
                hour=hour, model_id=model_id, provider=provider, adapter_id=adapter_id,
                **{metric: packed(numbers) for metric, numbers in of.items()},
            )
            for (model_id, provider, adapter_id), of in together.items()
        )  # fmt: skip


def pack_slots(apps, schema_editor):
    """The same for slots. What was counted in coarse buckets stays as coarse as it was."""
    using = schema_editor.connection.alias
    SlotUsage, SlotBucket = (apps.get_model("accounting", name) for name in ("SlotUsage", "SlotBucket"))
    buckets = SlotBucket.objects.using(using).order_by("slot_id").values_list("slot_id", "bucket", "n")
    for slot_id, of_slot in groupby(buckets.iterator(chunk_size=10_000), itemgetter(0)):
        counts = {bucket: n for _, bucket, n in of_slot}
        SlotUsage.objects.using(using).filter(pk=slot_id).update(ttft=packed(counts))


class Migration(migrations.Migration):

    dependencies = [
        ('accounting', '0007_hourly_attempts'),
    ]

    operations = [
        migrations.DeleteModel(name='HourlySpread'),
        migrations.CreateModel(
            name='HourlySketch',
            fields=[
                ('usage', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='sketch', serialize=False, to='accounting.hourlyusage')),
                ('latency', models.BinaryField()),
                ('ttft', models.BinaryField()),
            ],
            options={
                'verbose_name_plural': 'hourly sketches',
                'db_table': 'usage_hourly_sketches',
            },
        ),
        migrations.CreateModel(
            name='HourlySpread',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hour', models.DateTimeField()),
                ('model_id', models.CharField(blank=True, max_length=200)),
                ('provider', models.CharField(blank=True, max_length=100)),
                ('latency', models.BinaryField()),
                ('ttft', models.BinaryField()),
                ('adapter', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='catalog.adapter')),
            ],
            options={
                'db_table': 'usage_hourly_spread',
                'constraints': [models.UniqueConstraint(models.F('hour'), models.F('model_id'), models.F('provider'), django.db.models.functions.comparison.Coalesce('adapter', 0), name='usage_hourly_spread_unique')],
            },
        ),
        migrations.AddField(
            model_name='slotusage',
            name='ttft',
            field=models.BinaryField(default=b'', help_text='Times to the first token of successes, packed by accounting.sketch.'),
        ),
        migrations.RunPython(pack_buckets, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(pack_slots, migrations.RunPython.noop, elidable=True),
    ]
