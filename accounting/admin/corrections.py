"""What `manage.py reprice` changed: to be read, and searched by request."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from accounting.admin import exhibits
from accounting.admin.requests import ReadOnly
from accounting.models import PriceCorrection


@admin.register(PriceCorrection)
class PriceCorrectionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["corrected_at", "request_id", "requested_at", "old_cost_usd", "new_cost_usd", "corrected_by"]
    list_filter = ["corrected_at"]
    # Exact, because only that is answered by an index.
    search_fields = ["request_id__exact"]
    search_help_text = "The whole request id, e.g. gen-1732300000-AbCdEf."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ["-corrected_at", "-id"]
    fields = [
        "request_id", "requested_at", "old_cost_usd", "new_cost_usd", "old", "new", "corrected_at", "corrected_by",
    ]  # fmt: skip

    @admin.display(description="old prices per million tokens (USD)")
    def old(self, correction: PriceCorrection) -> SafeString | str:
        return exhibits.prices(correction.old_prices)

    @admin.display(description="new prices per million tokens (USD)")
    def new(self, correction: PriceCorrection) -> SafeString | str:
        return exhibits.prices(correction.new_prices)
