"""The way out of sandboxes: for each that may reach anything, a proxy in this process behind a unix socket of its own.

The socket lies in a folder that is mounted read-only into that one container. When the sandbox closes, or this process
dies, nobody listens on it any more: the way out fails closed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from shopfloor.engine.sandbox.egress_ledger import Ledger
from shopfloor.engine.sandbox.egress_limits import EgressLimits, shared_connections
from shopfloor.engine.sandbox.egress_proxy import EgressProxy, Way
from shopfloor.engine.sandbox.egress_rules import AllowList
from shopfloor.engine.sandbox.hardening import BRIDGE_PORT, EGRESS_SOCKET
from shopfloor.engine.sandbox.port import Egress, SandboxUnavailable
from shopfloor.infra.outbound import HostUnknown, HostUnresolved, OutboundRules, Resolver

_BACKLOG: Final = 128
_LOOKUP_THREADS: Final = 8
_NO_PROXY: Final = "localhost,127.0.0.1,::1"


class EgressProxies:
    """See EgressDoor. `folder` has to be on a file system that the engine's host shares; nobody else may enter it."""

    def __init__(
        self,
        folder: Path,
        *,
        allow_private: bool = False,
        limits: EgressLimits | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._folder = folder
        self._rules = OutboundRules(allow_private=allow_private)
        self._limits = limits or EgressLimits()
        self._resolver = resolver
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="egress-lookup")
        self._shared = asyncio.Semaphore(shared_connections())
        self._proxies: dict[str, EgressProxy] = {}

    async def open(self, sandbox: str, egress: Egress) -> tuple[Path, Mapping[str, str]]:
        """See EgressDoor. Raises: PlaceMalformed."""
        allow = AllowList(egress.allow)
        ledger = Ledger(sandbox, self._limits, egress.report)
        folder = self._folder / sandbox
        try:
            listener = await asyncio.to_thread(_listen, folder)
        except OSError as error:
            raise SandboxUnavailable(
                f"the egress proxy can't listen in {folder}: {error.strerror}", folder=str(folder)
            ) from error
        resolver = self._resolver or Lookups(self._threads, at_once=self._limits.lookups)
        way = Way(allow, self._rules, self._limits, resolver, ledger)
        self._proxies[sandbox] = EgressProxy(listener, way, self._shared)
        return folder, proxy_variables()

    async def close(self, sandbox: str) -> None:
        """See EgressDoor."""
        proxy = self._proxies.pop(sandbox, None)
        if proxy is not None:
            await proxy.aclose()
        await asyncio.to_thread(shutil.rmtree, self._folder / sandbox, ignore_errors=True)

    async def aclose(self) -> None:
        """Close all of them."""
        for sandbox in list(self._proxies):
            await self.close(sandbox)
        self._threads.shutdown(wait=False, cancel_futures=True)


def proxy_variables() -> dict[str, str]:
    """What curl, git, pip, npm, cargo, Go and Node (NODE_USE_ENV_PROXY) read."""
    address = f"http://127.0.0.1:{BRIDGE_PORT}"
    both = {"http_proxy": address, "https_proxy": address, "no_proxy": _NO_PROXY}
    return {**both, **{name.upper(): value for name, value in both.items()}, "NODE_USE_ENV_PROXY": "1"}


class Lookups:
    """A resolver on threads of its own: a slow name server of a sandbox's choice must not hold up the worker."""

    def __init__(
        self, threads: ThreadPoolExecutor, *, at_once: int, look_up: Callable[[str, int], list[str]] | None = None
    ) -> None:
        self._threads = threads
        self._look_up = look_up or _addresses
        self._free = asyncio.Semaphore(at_once)

    async def __call__(self, host: str, port: int) -> list[str]:
        """See Resolver. A look-up that nobody waits for any more keeps its place until it ends."""
        await self._free.acquire()
        look_up = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host, port)
        look_up.add_done_callback(self._ended)
        return await asyncio.shield(look_up)

    def _ended(self, look_up: asyncio.Future[list[str]]) -> None:
        self._free.release()
        if not look_up.cancelled():
            look_up.exception()  # seen, also when the one who asked has left


def _addresses(host: str, port: int) -> list[str]:
    try:
        return [str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except socket.gaierror as error:
        if error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}:
            raise HostUnknown(f"{host} is not known", host=host) from error
        raise HostUnresolved(f"the name service failed for {host}: {error.strerror}", host=host) from error


def _listen(folder: Path) -> socket.socket:
    """A listening socket in a new folder; its path may be longer than an address of a unix socket (108 bytes)."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    at = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(f"/proc/self/fd/{at}/{EGRESS_SOCKET}")
        (folder / EGRESS_SOCKET).chmod(0o666)  # the sandbox's user is another one; the parent lets nobody else in
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        with suppress(OSError):
            shutil.rmtree(folder)
        raise
    finally:
        os.close(at)
    return listener
