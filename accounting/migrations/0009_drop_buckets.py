from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('accounting', '0008_sketches'),
    ]

    operations = [
        migrations.DeleteModel(name='HourlyBucket'),
        migrations.DeleteModel(name='SlotBucket'),
    ]
