"""Rows of the catalogue: who serves (`Provider`), what is served (`LanguageModel`), and the two together (`Adapter`).

One module per concept. Everybody else imports from here.
"""

from catalog.models.adapter import Adapter
from catalog.models.language_model import LanguageModel, ModelAlias
from catalog.models.price import AdapterPrice, AdapterPriceQuerySet
from catalog.models.provider import Provider, dialect_choices
from catalog.models.revision import Revision
from catalog.models.seeded_row import SeededRow

__all__ = [
    "Adapter",
    "AdapterPrice",
    "AdapterPriceQuerySet",
    "LanguageModel",
    "ModelAlias",
    "Provider",
    "Revision",
    "SeededRow",
    "dialect_choices",
]
