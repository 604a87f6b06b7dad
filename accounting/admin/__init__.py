"""Accounting in admin: importing it registers keys, requests, totals and corrections."""

from accounting.admin import corrections, keys, requests

__all__ = ["corrections", "keys", "requests"]
