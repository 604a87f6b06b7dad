"""Accounting in admin: importing it registers keys, requests and totals."""

from accounting.admin import keys, requests

__all__ = ["keys", "requests"]
