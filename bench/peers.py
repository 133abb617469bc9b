"""The gateway beside other programs that pass LLM requests through, at once on one machine.

nginx's ``proxy_pass`` is the floor: a program in C that does nothing else.  LiteLLM's proxy is
what many people run in front of their providers; it is installed for the run, in a folder of
its own, and started with one model and without database or logging.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import load, report, servers
from bench.bodies import talk
from bench.load import Talker
from bench.processes import Server
from bench.throughput import BARE, CONNECTIONS, VARIANTS

SIZE_KB = 2
ROUNDS = {True: (1, 1.0), False: (5, 4.0)}
"""Of a quick run and of a real one: rounds, and seconds of load in each."""
OURS = "everything, traces without bodies"
LITELLM_SECONDS = 180.0
"""How long LiteLLM may take until it serves."""

_NGINX = """
daemon off; pid nginx.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi; client_body_buffer_size 1m;
  upstream model {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""
_LITELLM = """
model_list:
  - model_name: gpt-4o-mini
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{upstream}/v1", api_key: sk-bench}}
general_settings: {{disable_spend_logs: true}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""
_LITELLM_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no look-up on the network
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}


def run(*, quick: bool) -> str:
    """Measure everything that is installed and return it as Markdown."""
    rounds, seconds = ROUNDS[quick]
    with servers.upstream(stream=False) as upstream, contextlib.ExitStack() as stack:
        targets = {
            BARE: stack.enter_context(servers.helper("proxy", upstream)),
            f"gateway: {OURS}": stack.enter_context(servers.gateway(upstream, VARIANTS[OURS])),
        }
        if shutil.which("nginx", path=servers.PROGRAMS):
            targets["nginx proxy_pass"] = stack.enter_context(nginx(upstream))
        if not quick:
            targets["LiteLLM proxy"] = stack.enter_context(litellm(upstream))
        rows = _rows(_loads(targets, rounds, seconds))
    heads = ["target", "req/s", "of the bare proxy", "p50 ms", "p99 ms", "failed"]
    return f"{report.machine()}\n\n{report.table(heads, rows)}"


def _loads(targets: dict[str, Server], rounds: int, seconds: float) -> dict[str, list[load.Load]]:
    talkers = {name: Talker(one.url, talk(SIZE_KB, stream=False)) for name, one in targets.items()}
    for talker in talkers.values():
        talker.run(1, CONNECTIONS)
    found: dict[str, list[load.Load]] = {name: [] for name in targets}
    for number in range(rounds):
        for name in list(talkers)[:: 1 if number % 2 else -1]:
            found[name].append(talkers[name].run(seconds, CONNECTIONS))
    return found


def _rows(loads: dict[str, list[load.Load]]) -> Iterator[Sequence[str]]:
    for name, ours in loads.items():
        pairs = zip(ours, loads[BARE], strict=True)
        ratio = statistics.median(one.per_second / bare.per_second for one, bare in pairs)
        yield [
            name,
            f"{statistics.median(one.per_second for one in ours):,.0f}",
            f"{ratio:.3f}",
            f"{statistics.median(one.p50_ms for one in ours):.1f}",
            f"{statistics.median(one.p99_ms for one in ours):.1f}",
            str(sum(one.failures for one in ours)),
        ]


@contextlib.contextmanager
def nginx(upstream: str) -> Iterator[Server]:
    """Run nginx as a proxy in front of an upstream."""
    program = shutil.which("nginx", path=servers.PROGRAMS)
    if program is None:
        raise FileNotFoundError("nginx is not installed: apt-get install nginx-light")
    port = servers.free_port()
    with tempfile.TemporaryDirectory() as name:
        conf = Path(name) / "nginx.conf"
        conf.write_text(_NGINX.format(port=port, upstream=upstream.removeprefix("http://")))
        yield from _served([program, "-p", name, "-c", str(conf)], port)


@contextlib.contextmanager
def litellm(upstream: str) -> Iterator[Server]:
    """Install LiteLLM's proxy into a temporary folder and run it in front of an upstream."""
    port = servers.free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        install = [str(folder / "venv/bin/pip"), "install", "--quiet", "litellm[proxy]"]
        subprocess.run(install, check=True)
        (folder / "config.yaml").write_text(_LITELLM.format(upstream=upstream))
        program = str(folder / "venv/bin/litellm")
        command = [program, "--config", str(folder / "config.yaml"), "--port", str(port)]
        yield from _served(command, port, _LITELLM_ENVIRONMENT, LITELLM_SECONDS)


def _served(
    command: Sequence[str],
    port: int,
    environment: dict[str, str] | None = None,
    seconds: float = 20,
) -> Iterator[Server]:
    with subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            servers.wait_for(port, seconds)
            yield Server(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
