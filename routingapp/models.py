"""Rows of routing: how the traffic of a model is split (`RoutingWeight`) and by which rules (`RoutingPolicy`)."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce

from catalog.models import Adapter, LanguageModel
from routingapp.entries import DEFAULT_STRATEGY, OffloadMode
from routingapp.strategies import STRATEGIES


class RoutingWeight(models.Model):
    """The share of a model's traffic that one of its adapters gets, relative to the other adapters' weights."""

    adapter = models.OneToOneField(Adapter, on_delete=models.CASCADE, related_name="routing_weight")
    weight = models.FloatField(
        default=1,
        validators=[MinValueValidator(0)],
        help_text="Relative: 3 and 1 means three quarters and one quarter. 0: only when the others fail.",
    )

    class Meta:
        ordering = ["adapter"]
        constraints = [models.CheckConstraint(name="weight_not_negative", condition=Q(weight__gte=0))]

    def __str__(self) -> str:
        return f"{self.adapter}: {self.weight:g}"


class RoutingPolicy(models.Model):
    """The rules for one model, or, in the one row without a model, for all models that have no rules of their own."""

    model = models.OneToOneField(
        LanguageModel,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="routing_policy",
        help_text="Empty: the default for every model without a policy of its own.",
    )
    strategy = models.CharField(
        max_length=20,
        choices=[(name, f"{name}: {sentence}") for name, sentence in STRATEGIES.items()],
        default=DEFAULT_STRATEGY,
    )
    offload = models.CharField(
        "hard offload",
        max_length=10,
        choices=[
            (OffloadMode.ENVIRONMENT, "as the default policy says, or else the OFFLOAD variable"),
            (OffloadMode.ON, "on: local engines take no traffic"),
            (OffloadMode.OFF, "off, whatever OFFLOAD says"),
        ],
        default=OffloadMode.ENVIRONMENT,
    )
    local_fraction = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="Share of the traffic for local engines, 0 to 1. Empty: the weights decide.",
    )
    local_max_in_flight = models.PositiveIntegerField(
        "local: in flight",
        default=32,
        validators=[MinValueValidator(1)],
        help_text="local_first: with so many requests under way, per gateway process, a local engine is saturated.",
    )
    local_max_waiting = models.PositiveIntegerField(
        "local: waiting",
        default=4,
        help_text="local_first: with more requests than this in its own queue, a local engine is saturated.",
    )
    local_max_ttft_s = models.FloatField(
        "local: first token (s)",
        default=5,
        validators=[MinValueValidator(0.01)],
        help_text="local_first: with a longer median time to the first token, a local engine is saturated.",
    )
    max_attempts = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1)], help_text="Calls made for one model of a request before it fails."
    )
    deadline_s = models.FloatField(
        "deadline (s)",
        default=600,
        validators=[MinValueValidator(1)],
        help_text="All attempts together, until the first content.",
    )
    longest_wait_s = models.FloatField(
        "longest wait (s)",
        default=30,
        validators=[MinValueValidator(0)],
        help_text="For a provider that is rate limited, says when to return (Retry-After) and has no substitute. "
        "Where it would be longer, the caller is told so at once: 429 with Retry-After.",
    )
    resumes = models.BooleanField(
        "resume broken answers",
        default=True,
        help_text="A stream that breaks off is continued by another adapter if that provably fits; else it ends in an error.",
    )
    hedges = models.BooleanField(
        "hedge slow starts",
        default=False,
        help_text="A stream that is silent past its adapter's usual first token (p95) is asked of a second adapter too.",
    )
    health_check_interval_s = models.FloatField(
        "health check every (s)", default=10, validators=[MinValueValidator(1)], help_text="Of local engines."
    )
    health_check_timeout_s = models.FloatField(
        "health check: timeout (s)",
        default=3,
        validators=[MinValueValidator(0.01)],
        help_text="A local engine that has not answered its health check by then is down.",
    )

    class Meta:
        verbose_name_plural = "routing policies"
        ordering = [models.F("model").asc(nulls_first=True)]
        constraints = [
            # At most one row without a model: NULLs alone would not collide.
            models.UniqueConstraint(Coalesce("model", 0), name="policy_one_per_model"),
            models.CheckConstraint(
                name="policy_local_fraction_is_share",
                condition=Q(local_fraction__isnull=True) | Q(local_fraction__gte=0, local_fraction__lte=1),
            ),
            models.CheckConstraint(name="policy_attempts_positive", condition=Q(max_attempts__gte=1)),
            models.CheckConstraint(name="policy_strategy_known", condition=Q(strategy__in=list(STRATEGIES))),
        ]

    def __str__(self) -> str:
        return f"{self.model or 'every other model'}: {self.strategy}"
