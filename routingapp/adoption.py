"""Offers of a provider made rows: a model and an adapter each, or one more adapter of a model that is there already.

None of it takes traffic before an operator says so: a new model is off, a new adapter of a known model is off and has no weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from catalog.discovery.offers import Offer
from catalog.models import Adapter, AdapterPrice, LanguageModel, ModelAlias, Provider
from catalog.seed import fields
from routingapp.models import RoutingWeight


class AdoptionRefused(Exception):
    """Nothing was added. `problems`: each names the offer, the rule and the cure."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Known:
    """An offer beside the catalogue. `served_as`: ids of the models that it is an adapter of already.

    `public_id` is what it would be called; `joins`: the model that has that name, None where it would be a new one.
    """

    offer: Offer
    served_as: tuple[str, ...]
    public_id: str
    joins: str | None


@dataclass(slots=True)
class Adopted:
    """What was added. `unpriced`: adapters whose price was left out because their adder may not set prices."""

    models: list[LanguageModel] = field(default_factory=list)
    adapters: list[Adapter] = field(default_factory=list)
    unpriced: list[Adapter] = field(default_factory=list)

    def sentence(self) -> str:
        new, joined = len(self.models), len(self.adapters) - len(self.models)
        said = [f"{new} model{'' if new == 1 else 's'}, switched off"] if new else []
        said += [f"{joined} adapter{'' if joined == 1 else 's'} of models that were there, switched off"] if joined else []
        return f"Added {' and '.join(said) or 'nothing'}."


def compare(provider: Provider, offers: Iterable[Offer]) -> list[Known]:
    """Each offer with what the catalogue has of it. Three queries."""
    served: dict[str, list[str]] = {}
    for upstream, public_id in Adapter.objects.filter(provider=provider).values_list("upstream_model", "model__public_id"):
        served.setdefault(upstream, []).append(public_id)
    names = _names()
    return [
        Known(
            offer,
            tuple(sorted(served.get(offer.upstream_model, ()))),
            names.get(offer.upstream_model.lower(), offer.upstream_model),
            names.get(offer.upstream_model.lower()),
        )
        for offer in offers
    ]


def adopt(
    provider: Provider,
    offers: Iterable[Offer],
    chosen: Mapping[str, str],
    *,
    author: User | None = None,
    may_price: bool = True,
) -> Adopted:
    """Add what is `chosen`: the id that callers shall use, by the provider's own id. All of it or nothing.

    An id or alias that is known adds an adapter to that model. `author` signs prices; without `may_price` they are left out.
    Raises `AdoptionRefused` with every problem.
    """
    by_id = {offer.upstream_model: offer for offer in offers}
    problems: list[str] = []
    try:
        with transaction.atomic():
            adoption = _Adoption(provider, author, may_price, _names())
            for upstream, public_id in chosen.items():
                try:
                    if upstream not in by_id:
                        raise AdoptionRefused([f"{upstream}: {provider.name} does not offer it any more; leave it out."])
                    adoption.add(by_id[upstream], public_id.strip())
                except AdoptionRefused as refusal:
                    problems += refusal.problems
            if problems:
                raise AdoptionRefused(problems)
    except IntegrityError as error:
        raise AdoptionRefused(["Somebody else has added some of these at this moment; look again."]) from error
    return adoption.added


def _names() -> dict[str, str]:
    """Every name by which callers find a model, in lower case, and that model's id."""
    ids = LanguageModel.objects.values_list("public_id", flat=True)
    aliases = ModelAlias.objects.values_list("alias", "model__public_id")
    return {alias.lower(): public_id for alias, public_id in aliases} | {public_id.lower(): public_id for public_id in ids}


@dataclass(slots=True)
class _Adoption:
    """One round of additions. `names` as `_names` gives them; what is added joins them."""

    provider: Provider
    author: User | None
    may_price: bool
    names: dict[str, str]
    added: Adopted = field(default_factory=Adopted)

    def add(self, offer: Offer, public_id: str) -> None:
        joins = self.names.get(public_id.lower())
        if joins is None:
            model = _model(self.provider, offer, public_id)
            self.added.models.append(model)
            self.names[public_id.lower()] = public_id
            self.added.adapters.append(self._adapter(offer, model, is_enabled=True, weight=1))
            return
        model = LanguageModel.objects.get(public_id=joins)
        if Adapter.objects.filter(model=model, provider=self.provider, upstream_model=offer.upstream_model).exists():
            told = f"{offer.upstream_model}: {self.provider.name} serves it as {joins} already; leave it out."
            raise AdoptionRefused([told])
        adapter = self._adapter(offer, model, is_enabled=False, weight=0)
        self.added.adapters.append(adapter)
        if offer.pricing and offer.pricing != model.pricing:
            self._price(adapter, offer)

    def _adapter(self, offer: Offer, model: LanguageModel, *, is_enabled: bool, weight: float) -> Adapter:
        context = offer.context_length or model.context_length
        output = min(offer.max_output_length, context) if offer.max_output_length else None
        adapter = Adapter.objects.create(
            model=model,
            provider=self.provider,
            upstream_model=offer.upstream_model,
            is_enabled=is_enabled,
            context_length=context if context != model.context_length else None,
            max_output_length=output if output != model.max_output_length else None,
        )
        RoutingWeight.objects.create(adapter=adapter, weight=weight)
        return adapter

    def _price(self, adapter: Adapter, offer: Offer) -> None:
        if not self.may_price:
            self.added.unpriced.append(adapter)
            return
        AdapterPrice.objects.create(
            adapter=adapter, pricing=offer.pricing, note=f"As {self.provider.name} listed it.", created_by=self.author
        )


def _model(provider: Provider, offer: Offer, public_id: str) -> LanguageModel:
    """A new model that is off. Raises `AdoptionRefused` where the offer or the id makes no valid row."""
    context = offer.context_length or fields.default(LanguageModel, "context_length")
    output = offer.max_output_length or fields.default(LanguageModel, "max_output_length")
    model = LanguageModel(
        public_id=public_id,
        name=offer.name,
        owned_by=offer.owned_by or provider.slug,
        description=offer.description,
        is_enabled=False,
        context_length=context,
        max_output_length=min(output, context),
        input_modalities=list(offer.input_modalities),
        output_modalities=list(offer.output_modalities),
        supports_tools=offer.supports_tools,
        supports_structured_output=offer.supports_structured_output,
        supported_parameters=list(offer.supported_parameters),
        reasoning=offer.reasoning or None,
        pricing=dict(offer.pricing),
        created=offer.created or timezone.now(),
    )
    try:
        model.full_clean()
    except ValidationError as error:
        faults = [f"{offer.upstream_model} as {public_id!r}: {told}" for told in error.messages]
        raise AdoptionRefused(faults) from error
    model.save()
    return model
