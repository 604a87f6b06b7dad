"""A real nginx for tests, with the site file that `deploy/` ships, in front of gateways on this machine. Needs an `nginx`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.live import ROOT, free_port, until

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
NAME = "gateway.example.org"
HEADERS = {"Host": NAME}

needs_nginx = pytest.mark.skipif(not Path(NGINX).exists(), reason="no nginx (apt-get install nginx-light)")


class Nginx:
    """One nginx in `directory` that balances over the gateways at `ports`, as a context manager.

    Of our file only addresses, ports, the certificate and `changes` are other than shipped.
    """

    def __init__(self, directory: Path, ports: Sequence[int], changes: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, verify=False, headers=HEADERS, timeout=20)
        self._directory = directory
        self._changes = {
            "    server 127.0.0.1:8080;\n": "".join(f"    server 127.0.0.1:{port};\n" for port in ports),
            "listen 443": f"listen 127.0.0.1:{self.port}",
            "listen 80": f"listen 127.0.0.1:{free_port()}",
            f"/etc/letsencrypt/live/{NAME}/fullchain.pem": str(directory / "certificate.pem"),
            f"/etc/letsencrypt/live/{NAME}/privkey.pem": str(directory / "key.pem"),
            **(changes or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._make_certificate()
        self._write_files()
        directory = self._directory
        command = [NGINX, "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", str(directory / "error.log")]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20, check=False)
        assert tested.returncode == 0, tested.stderr
        self._process = subprocess.Popen(command)
        until(self._answers, "nginx answers", 10)
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

    def _make_certificate(self) -> None:
        directory = self._directory
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}",
             "-keyout", directory / "key.pem", "-out", directory / "certificate.pem"],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip

    def _write_files(self) -> None:
        directory = self._directory
        site = (ROOT / "deploy" / "nginx" / "gateway.conf").read_text()
        for ours, here in self._changes.items():
            assert ours in site, f"the shipped file no longer says {ours!r}"
            site = site.replace(ours, here)
        (directory / "gateway.conf").write_text(site)
        paths = "".join(
            f"{name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (directory / "nginx.conf").write_text(
            f"daemon off; user root; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1;"
            f"events {{}} http {{ access_log off; {paths} include {directory}/gateway.conf; }}"
        )
