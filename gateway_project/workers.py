"""The parent of several server processes, as uvicorn has it, but for the end: it holds no door open that nobody stands behind."""

from __future__ import annotations

from uvicorn.supervisors import Multiprocess


class Workers(Multiprocess):
    """Starts, watches and replaces server processes, which share the parent's listening sockets."""

    def terminate_all(self) -> None:
        """End all workers, and listening with them: the parent outlives them, and never accepts.

        uvicorn (0.54) keeps the sockets open until it exits. As long as the last answers take, the kernel went on to make
        connections, which hung and were then reset instead of being refused. A socket that systemd holds stays open in systemd,
        where connections wait for the next start.
        """
        for listening in self.sockets:
            listening.close()
        super().terminate_all()
