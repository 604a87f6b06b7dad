"""Lists the models that a provider offers, and adds chosen ones to the catalogue, switched off.

What the button "Discover models" on a provider's page does in admin.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog import environment
from catalog.discovery import asking
from catalog.discovery.asking import DiscoveryFailed
from catalog.models import Provider
from catalog.prices import Prices
from routingapp import adoption
from routingapp.adoption import AdoptionRefused, Known


class Command(BaseCommand):
    help = "Lists what a provider offers: = is served already, + would be a new model, > another adapter of a known one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("provider", help="Its slug, e.g. openrouter.")
        parser.add_argument(
            "--add",
            action="append",
            default=[],
            metavar="ID[=NAME]",
            help="Add this one; callers find it as NAME. May be repeated.",
        )

    def handle(self, *args: Any, **options: Any) -> str:
        slug = options["provider"]
        provider = Provider.objects.filter(slug=slug).first()
        if provider is None:
            known = ", ".join(Provider.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no provider {slug}. Known: {known}.")
        try:
            offered = asking.ask(provider, environment.lookup)
            if options["add"]:
                chosen = dict(_named(text) for text in options["add"])
                return adoption.adopt(provider, offered.offers, chosen).sentence()
        except DiscoveryFailed as error:
            raise CommandError(str(error)) from error
        except AdoptionRefused as refusal:
            raise CommandError(f"Nothing was added:\n{refusal}") from refusal
        for found in adoption.compare(provider, offered.offers):
            self.stdout.write(_line(found))
        left_out = f"; {offered.left_out} more cannot be asked by this gateway" if offered.left_out else ""
        return f"{provider.name} offers {len(offered.offers)} models{left_out}."


def _named(text: str) -> tuple[str, str]:
    upstream, _, name = text.partition("=")
    return upstream, name or upstream


def _line(known: Known) -> str:
    offer = known.offer
    mark = "=" if known.served_as else ">" if known.joins else "+"
    length = f"{offer.context_length:,} tokens" if offer.context_length else ""
    price = f"{_price(offer.pricing)} USD per M" if offer.pricing else ""
    served = f"served as {', '.join(known.served_as)}" if known.served_as else ""
    return "  ".join(filter(None, [f"{mark} {offer.upstream_model}", length, price, served]))


def _price(pricing: Any) -> str:
    prices = Prices.parse(pricing)
    return " / ".join(f"{(prices.get(key) * 1_000_000).normalize():f}" for key in ("prompt", "completion"))
