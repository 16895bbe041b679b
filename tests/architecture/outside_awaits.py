"""Finds every await on something outside the process in a source file, and whether a limit stands around it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

# What reaches outside, by the last name of the call. A name that is also used for something inside (`get`) is told
# apart by what it is called on.
OUTSIDE = {
    # sockets and streams
    "open_connection", "open_unix_connection", "create_connection", "read", "readline", "readexactly", "readuntil",
    "drain", "wait_closed", "getaddrinfo", "sock_connect", "sock_recv", "sock_sendall", "receive", "read_out",
    # processes
    "create_subprocess_exec", "create_subprocess_shell", "communicate",
    # HTTP
    "handle_async_request", "aread", "send_request",
    # PostgreSQL
    "connect", "fetchone", "fetchall", "getconn",
    # SMTP, name service, engine
    "sendmail", "send_message", "quit", "ehlo", "starttls", "login", "resolve",
    # threads: what blocks in one is outside as well
    "to_thread", "run_in_executor",
}  # fmt: skip
ON = {  # names that are outside only on these receivers
    "client", "session", "http", "process", "docker", "containers", "exec", "websocket", "redis", "storage", "_client",
    "_http", "_session", "_docker", "_process", "_redis", "_storage", "smtp", "pool", "app", "system", "_connection",
    "connection", "container", "reader", "writer", "_reader", "_writer", "stream", "_stream", "ws",
}  # fmt: skip
CALLED_ON = {
    "get", "post", "put", "patch", "delete", "head", "request", "send", "stream", "wait", "execute", "start", "kill",
    "stop", "inspect", "show", "create", "run", "exec", "pull", "write", "connection", "ping", "evalsha", "eval",
    "incr", "close", "aclose", "list",
}  # fmt: skip
_LIMITS = {"timeout", "timeout_at"}


@dataclass(frozen=True, slots=True)
class Found:
    """One await."""

    function: str  # with the classes around it: `Notifier._send`
    call: str  # as written, without arguments
    line: int
    limited: bool  # by a timeout around it or as an argument


def outside_awaits(source: str) -> list[Found]:
    """All of a file, in order."""
    return list(_walk(ast.parse(source), (), limited=False))


def _walk(node: ast.AST, names: tuple[str, ...], *, limited: bool) -> Iterator[Found]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        # What a function defines inside runs later, maybe outside the limit around it.
        names, limited = (*names, node.name), False
    elif isinstance(node, ast.ClassDef):
        names = (*names, node.name)
    if isinstance(node, ast.AsyncWith):
        for item in node.items:
            yield from _found(item.context_expr, names, limited=limited)
            limited = limited or _is_limit(item.context_expr)
            yield from _walk(item.context_expr, names, limited=limited)
        for each in node.body:
            yield from _walk(each, names, limited=limited)
        return
    if isinstance(node, ast.Await):
        yield from _found(node.value, names, limited=limited)
    if isinstance(node, ast.AsyncFor):
        yield from _found(node.iter, names, limited=limited)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, names, limited=limited)


def _found(value: ast.AST, names: tuple[str, ...], *, limited: bool) -> Iterator[Found]:
    if not isinstance(value, ast.Call) or not _is_outside(value.func):
        return
    given = any((keyword.arg or "").endswith(("timeout", "timeout_s")) for keyword in value.keywords)
    yield Found(".".join(names), ast.unparse(value.func), value.lineno, limited or given)


def _is_outside(func: ast.expr) -> bool:
    if isinstance(func, ast.Name):
        return func.id in OUTSIDE
    if not isinstance(func, ast.Attribute):
        return False
    if func.attr in OUTSIDE:
        return True
    return func.attr in CALLED_ON and _last_name(func.value) in ON


def _last_name(expression: ast.expr) -> str:
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""


def _is_limit(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Call) and _last_name(expression.func) in _LIMITS
