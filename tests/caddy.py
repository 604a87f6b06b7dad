"""A real Caddy for tests, with our example file in front of a gateway on loopback. Needs a `caddy` on the path."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.live import ROOT, free_port, until

BINARY = shutil.which("caddy")
FILE = ROOT / "deploy" / "caddy" / "Caddyfile"
needs_caddy = pytest.mark.skipif(BINARY is None, reason="no caddy on the path (apt-get install caddy)")


class Caddy:
    """One Caddy in `directory` in front of the gateway at `port`, as a context manager.

    Of our file only addresses are other than shipped, and it speaks no TLS, for which it would ask an authority on the internet.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._changes = {
            "\n{\n": "\n{\n\tadmin off\n",
            "\ngateway.example.org {": f"\nhttp://127.0.0.1:{(own_port := free_port())} {{",
            "reverse_proxy 127.0.0.1:8080 {": f"reverse_proxy 127.0.0.1:{port} {{",
        }
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{own_port}", timeout=20)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        assert BINARY is not None
        site = FILE.read_text()
        for ours, here in self._changes.items():
            assert ours in site, f"{FILE} has no {ours!r} any more"
            site = site.replace(ours, here)
        file = self._directory / "Caddyfile"
        file.write_text(site)
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [BINARY, "run", "--adapter", "caddyfile", "--config", str(file)],
                stdout=log, stderr=log, env={**os.environ, "HOME": str(self._directory)},
            )  # fmt: skip
        until(self._answers, "caddy answers", 10)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def _answers(self) -> bool:
        try:
            return self.client.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False
