"""There is one way out: no module of the product opens HTTP by itself but those listed here, each with its reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import shopfloor

SOURCE = Path(shopfloor.__file__).parent
WAYS_OUT = {
    "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "requests", "urllib3", "urllib.request", "http.client",
    "ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "xmlrpc", "pycurl", "boto3", "botocore", "hvac", "aiodocker",
    "authlib", "aiosmtplib", "websockets", "redis", "socket", "niquests", "tornado.httpclient",
}  # fmt: skip
_OPENING = {"open_connection", "create_connection", "sock_connect"}  # of asyncio and socket
# Where it is allowed, and why no URL of a user is followed past the guard there. Patterns of paths below src/shopfloor.
ALLOWED = {
    "infra/outbound.py": "the guarded client itself",
    "infra/web/server.py": "the listening side",
    "apps/serving.py": "the listening side",
    "apps/wiring.py": "the name of this host, for the worker's own name",
    "apps/cli/kept_login.py": "the command line's own server, as client.py",
    "apps/cli/sign_in.py": "the command line's own server, as client.py",
    "apps/cli/client.py": "the command line calls the server that its own user names, from that user's machine",
    "domain/accounts/oidc_client.py": "types and errors; every call goes through the guarded client",
    "domain/notifications/webhook.py": "types of errors; every call goes through the guarded client",
    "infra/mail.py": "the mail server of the settings",
    "infra/rate_limits_shared.py": "types of errors; the connection is that of infra/redis_client.py",
    "infra/redis_client.py": "the Redis server of the settings",
    "infra/secret_stores/aws.py": "AWS, or the endpoint of the settings",
    "infra/secret_stores/vault.py": "the Vault of the settings",
    "infra/secret_stores/vault_session.py": "the Vault of the settings, without redirects",
    "engine/providers/http_client.py": "wraps the guarded transport that the models room hands in",
    "engine/providers/model_list.py": "types and errors; the client is that of http_client.py",
    "engine/providers/errors.py": "types of errors",
    "engine/providers/builders.py": "SDKs get the client of http_client.py; bedrock's endpoint is made of its region",
    "engine/providers/bedrock_session.py": "bedrock's endpoint is made of its region",
    "engine/sandbox/engine.py": "the container engine's socket, from the settings",
    "engine/sandbox/attach.py": "the stream of one command, on the engine's address from the settings",
    "engine/sandbox/egress.py": "the listening side of the sandbox's own proxy",
    "engine/sandbox/egress_proxy.py": "the sandbox's proxy: checks each address itself (tests/security/network)",
    "engine/sandbox/egress_relay.py": "relays what the proxy has opened",
    "engine/sandbox/guest/bridge.py": "runs inside the sandbox, without a network",
    "testing/mock_provider/exchange.py": "the listening side of a double",
    "testing/mock_provider/server.py": "the listening side of a double",
}


def ways_out(text: str) -> set[str]:
    """Which of the modules that can open a connection a source imports, also inside its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _OPENING:
                found.add(node.func.attr)
            named = [each.value for each in node.args if isinstance(each, ast.Constant)]
            names = [str(each) for each in named] if node.func.attr == "import_module" else []
        else:
            continue
        found |= {way for way in WAYS_OUT for name in names if name == way or name.startswith(f"{way}.")}
    return found


def test_no_module_opens_http_but_those_with_a_reason():
    opening = {
        str(file.relative_to(SOURCE)): sorted(found)
        for file in SOURCE.rglob("*.py")
        if (found := ways_out(file.read_text(encoding="utf-8")))
    }
    unexplained = {name: ways for name, ways in opening.items() if name not in ALLOWED}
    assert unexplained == {}, (
        "Call URLs of users through infra/outbound.py::outbound_client. A module that has to open a connection by "
        f"itself is listed in ALLOWED of {__file__}, with the reason why nobody can lead it inside."
    )


def test_no_reason_stands_there_for_nothing():
    assert [name for name in ALLOWED if not (SOURCE / name).exists()] == []
    quiet = [name for name in ALLOWED if not ways_out((SOURCE / name).read_text(encoding="utf-8"))]
    assert quiet == []


@pytest.mark.parametrize(
    "source",
    [
        "import requests",
        "import httpx2 as h",
        "from urllib import request",
        "import urllib.request",
        "from http.client import HTTPConnection",
        "def late():\n    from aiohttp import ClientSession",
        "import importlib\nimportlib.import_module('requests')",
        "import boto3.session",
        "import asyncio\nasyncio.open_connection(host, 80)",
    ],
)
def test_the_walk_finds_a_module_that_goes_out(source: str):
    """The positive control of the first test."""
    assert ways_out(source)


@pytest.mark.parametrize("source", ["from urllib.parse import quote", "import socketserver_like", "import json"])
def test_the_walk_leaves_others_alone(source: str):
    assert ways_out(source) == set()
