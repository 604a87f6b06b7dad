"""Reading `/metrics` as Prometheus does, and comparing two readings."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.live import Gateway

TOKEN = "scrape-me-0123456789"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Scrape:
    """One scrape, and what has changed since the one before."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._before = self._read()

    def _read(self) -> Samples:
        response = self._gateway.client.get("/metrics", headers=AUTH)
        assert response.status_code == 200, response.text
        return samples_of(response.text)

    def value(self, name: str, **labels: str) -> float:
        """The sum over all series with these labels, now."""
        return _sum(self._read(), name, labels)

    def change(self, name: str, **labels: str) -> float:
        """The same, less what it was when this scrape was made."""
        return self.value(name, **labels) - _sum(self._before, name, labels)


def _sum(samples: Samples, name: str, labels: dict[str, str]) -> float:
    return sum(value for (found, has), value in samples.items() if found == name and labels.items() <= dict(has).items())
