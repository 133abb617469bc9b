"""Every hook is called, and the documentation gives each of them as the code has it."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions import hooks, plugins
from gateway_sessions.chain import InterceptorChain
from gateway_sessions.exchange import Client, Exchange, Request
from gateway_sessions.hooks import Context, Interceptor
from gateway_sessions.telemetry import Telemetry

PAGE = (Path(__file__).parents[1] / "docs" / "interceptors.md").read_text(encoding="utf-8")

HOOKS = [name for name in vars(Interceptor) if not name.startswith("_")]


def signatures(source: str) -> dict[str, str]:
    """Return the hooks of the class ``Interceptor`` in a module, as ``(arguments) -> result``."""
    (found,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Interceptor"
    )
    return {
        item.name: f"({ast.unparse(item.args)}) -> {item.returns and ast.unparse(item.returns)}"
        for item in found.body
        if isinstance(item, ast.FunctionDef)
    }


def test_the_documented_signatures_are_those_of_the_code() -> None:
    (block,) = re.findall(
        r"^```python\n(.*?class Interceptor:.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
    )
    documented, real = signatures(block), signatures(inspect.getsource(hooks))
    assert documented == real
    assert list(documented) == HOOKS


def test_each_hook_has_a_row_that_says_when_it_is_called() -> None:
    assert [
        name for name in re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) if name in HOOKS
    ] == HOOKS


@pytest.mark.parametrize("name", plugins.BUILT_IN)
def test_the_documented_options_and_defaults_are_those_of_the_code(name: str) -> None:
    _, _, section = PAGE.partition(f"\n### {name}\n")
    section = section.partition("\n### ")[0]
    documented = {
        option: json.loads(default)
        for option, default in re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, re.MULTILINE)
    }
    real = {
        option: str(parameter.default) if isinstance(parameter.default, Path) else parameter.default
        for option, parameter in inspect.signature(plugins.find(name)).parameters.items()
    }
    assert section
    assert documented == real


def an_exchange() -> Exchange:
    request = Request("POST", "/v1/chat/completions", (), b"{}", 2)
    return Exchange("req_1", 0.0, Client("127.0.0.1", "test"), request)


RESULTS: dict[str, Any] = {"upstream_headers": (), "client_headers": (), "routes": ()}
"""What a hook returns here, if not None."""


@pytest.mark.parametrize("hook", HOOKS)
async def test_every_hook_is_called_on_an_object_that_has_only_it(hook: str) -> None:
    calls: list[tuple[Any, ...]] = []

    def called(self: object, *arguments: Any) -> Any:
        calls.append(arguments)
        return arguments[0] if hook == "before_write" else RESULTS.get(hook)

    methods: dict[str, Callable[..., Any]] = {hook: called}
    if hook in {"before_write", "flush"}:
        methods["write"] = lambda self, batch: None  # only for those who write
    telemetry, exchange = Telemetry(), an_exchange()
    chain = InterceptorChain([("only", type("Only", (), methods)())], telemetry)
    await chain.open(Context(telemetry, dict, {}, Path()))
    chain.routes()
    await chain.request_started(exchange)
    chain.upstream_headers(exchange)
    chain.client_headers(exchange)
    chain.finished(exchange)
    await chain.close()
    assert len(calls) == 1
    expected = list(inspect.signature(getattr(Interceptor, hook)).parameters)[1:]
    assert len(calls[0]) == len(expected)
    if expected == ["exchange"]:
        assert calls[0] == (exchange,)
    if expected == ["batch"]:
        assert calls[0] == ([exchange],)
    if expected == ["context"]:
        assert isinstance(calls[0][0], Context)
