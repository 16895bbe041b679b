"""The Docker engine's API as the sandboxes use it: every call has a time limit and fails in our own words."""

# aiodocker's methods take and give untyped values; what leaves this file is typed here.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, cast

import aiodocker
import aiohttp

from shopfloor.engine.sandbox.port import ImageMissing, SandboxUnavailable

Json = dict[str, Any]

_BUILD_TAIL = 2_000  # characters of a failed build's output in the error
_NO_CONNECTION = 900  # aiodocker's own status for an engine it can't reach
_HINT = "start it (scripts/engine start), or set SHOPFLOOR_SANDBOX__ENGINE_URL or DOCKER_HOST to one that runs"


class Engine:
    """One engine. The connection is made at the first call, in the loop that makes it."""

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._client: aiodocker.Docker | None = None

    async def info(self) -> Json:
        """What the engine says of itself. Raises: SandboxUnavailable."""
        return dict(await self._call(lambda docker: docker.system.info(), "ask what it is"))

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """A container, not started; its id. Raises: SandboxUnavailable, ImageMissing."""
        container = await self._call(
            lambda docker: docker.containers.create(dict(config), name=name), "create a container"
        )
        return cast("str", container.id)

    async def start(self, container: str) -> None:
        """Start it. Raises: SandboxUnavailable."""
        await self._call(lambda docker: docker.containers.container(container).start(), "start a container")

    async def inspect(self, container: str) -> Json | None:
        """Everything the engine knows of it; None: there is none of that name."""
        return await self._unless_gone(
            lambda docker: docker.containers.container(container).show(), "look at a container"
        )

    async def remove(self, container: str) -> None:
        """Kill and remove it; nothing to do is fine. Raises: SandboxUnavailable."""
        try:
            await self._unless_gone(
                lambda docker: docker.containers.container(container).delete(force=True, v=True), "remove a container"
            )
        except SandboxUnavailable as error:
            if error.facts.get("status") != HTTPStatus.CONFLICT:  # 409: somebody else is removing it
                raise

    async def kill(self, container: str) -> None:
        """Kill it; already dead or gone is fine."""
        try:
            await self._unless_gone(lambda docker: docker.containers.container(container).kill(), "kill a container")
        except SandboxUnavailable as error:
            if error.facts.get("status") != HTTPStatus.CONFLICT:
                raise

    async def labelled(self, label: str) -> list[Json]:
        """Every container that carries `label` (`key=value`), running or not: the engine's short form of each."""
        filters = '{"label": ["' + label + '"]}'
        found = await self._call(lambda docker: docker.containers.list(all="true", filters=filters), "list containers")
        return [cast("Json", container._container) for container in found]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the only way to the labels without a call for each

    async def image(self, name: str) -> Json | None:
        """What the engine knows of an image; None: it is not on this machine."""
        return await self._unless_gone(lambda docker: docker.images.inspect(name), "look at an image")

    async def images(self, label: str) -> list[Json]:
        """The images that carry `label`."""
        filters = '{"label": ["' + label + '"]}'
        found = await self._call(lambda docker: docker.images.list(filters=filters), "list images")
        return [dict(image) for image in found]

    async def remove_image(self, name: str) -> None:
        """Remove an image; none is fine, one in use stays."""
        try:
            await self._unless_gone(lambda docker: docker.images.delete(name), "remove an image")
        except SandboxUnavailable as error:
            if error.facts.get("status") != HTTPStatus.CONFLICT:
                raise

    async def load(self, archive: AsyncIterator[bytes], *, timeout_s: float) -> None:
        """Take in an image in the format of `docker save`."""
        await self._call(lambda docker: _loaded(docker, archive), "load an image", timeout_s=timeout_s)

    async def build(self, context: bytes, *, tag: str, arguments: Mapping[str, str], timeout_s: float) -> None:
        """Build a Dockerfile from a tar archive, in the network of the host: an engine of ours has no bridge.

        Raises: SandboxUnavailable, with the end of the build's output.
        """
        params = {"t": tag, "networkmode": "host", "forcerm": "true", "buildargs": json.dumps(dict(arguments))}
        failure = await self._call(
            lambda docker: _built(docker, context, params), "build an image", timeout_s=timeout_s
        )
        if failure:
            raise SandboxUnavailable(f"the Docker engine could not build {tag}: {failure}", cause=failure)

    async def commit(
        self, container: str, repository: str, tag: str, labels: Mapping[str, str], *, timeout_s: float
    ) -> None:
        """Keep the root file system of a container as an image."""
        config = {"Labels": dict(labels)}
        await self._call(
            lambda docker: docker.containers.container(container).commit(
                repository=repository, tag=tag, config=config, pause=True
            ),
            "commit an image",
            timeout_s=timeout_s,
        )

    async def put_archive(self, container: str, path: str, archive: bytes) -> None:
        """Unpack a tar archive into a container, as root."""
        await self._call(
            lambda docker: docker.containers.container(container).put_archive(path, archive), "fill a container"
        )

    async def exec_id(self, container: str, config: Mapping[str, Any]) -> str:
        """A command to be run in a container; start it with `attach`."""
        made = await self._call(
            lambda docker: docker.containers.container(container).exec(
                cmd=config["cmd"],
                stdin=bool(config.get("stdin")),
                environment=config.get("env"),
                workdir=config.get("cwd"),
                user=str(config.get("user", "")),
            ),
            "prepare a command",
        )
        return cast("str", made.id)

    async def exec_status(self, exec_id: str) -> Json:
        """Of a command that was started: `Running`, `ExitCode`."""
        return dict(await self._call(lambda docker: docker.containers.exec(exec_id).inspect(), "look at a command"))

    async def aclose(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _docker(self) -> aiodocker.Docker:
        if self._client is None:
            self._client = aiodocker.Docker(self.url)
        return self._client

    async def _call(
        self,
        call: Callable[[aiodocker.Docker], Coroutine[Any, Any, Any]],
        doing: str,
        *,
        timeout_s: float | None = None,
    ) -> Any:
        limit_s = timeout_s or self._timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await call(self._docker())
        except aiodocker.DockerError as error:
            if error.status != _NO_CONNECTION:
                raise _refusal(error, doing) from error
            raise SandboxUnavailable(f"no Docker engine answers at {self.url}: {_HINT}", engine=self.url) from error
        except TimeoutError as error:
            raise SandboxUnavailable(
                f"the Docker engine did not answer within {limit_s:.0f} s when asked to {doing}", engine=self.url
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SandboxUnavailable(
                f"no Docker engine answers at {self.url}: {_HINT}", engine=self.url, cause=str(error)
            ) from error

    async def _unless_gone(
        self, call: Callable[[aiodocker.Docker], Coroutine[Any, Any, Any]], doing: str
    ) -> Json | None:
        try:
            return cast("Json", await self._call(call, doing))
        except ImageMissing:
            return None
        except SandboxUnavailable as error:
            if error.facts.get("status") == HTTPStatus.NOT_FOUND:
                return None
            raise


def _refusal(error: aiodocker.DockerError, doing: str) -> SandboxUnavailable | ImageMissing:
    message = str(error.message)
    if error.status == HTTPStatus.NOT_FOUND and "No such image" in message:
        return ImageMissing(f"{message}: build it with `shopfloor image build`, or pull it beforehand")
    return SandboxUnavailable(
        f"the Docker engine refused to {doing} ({error.status}): {message}", status=int(error.status)
    )


async def _loaded(docker: aiodocker.Docker, archive: AsyncIterator[bytes]) -> None:
    loading = cast("Awaitable[Any]", docker.images.import_image(archive))
    await loading


async def _built(docker: aiodocker.Docker, context: bytes, params: Mapping[str, str]) -> str:
    """What went wrong, with the output's end; empty if nothing did. aiodocker's own `build` can't name a network."""
    query = docker._query(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - see above
        "build", "POST", params=dict(params), data=context, headers={"content-type": "application/x-tar"}, timeout=None
    )
    async with query as response:
        lines: list[Json] = [json.loads(line) for line in (await response.text()).splitlines() if line.strip()]
    failure = next((str(line["error"]) for line in lines if "error" in line), "")
    said = "".join(str(line.get("stream", "")) for line in lines)[-_BUILD_TAIL:]
    return f"{failure}\n{said}" if failure else ""


@asynccontextmanager
async def engine_at(url: str, *, timeout_s: float = 30.0) -> AsyncGenerator[Engine, None]:
    """An engine for the time of a block."""
    engine = Engine(url, timeout_s=timeout_s)
    try:
        yield engine
    finally:
        await engine.aclose()
