"""Environments built on a real engine; the project is a small package that installs without any network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox_on_docker import backend, output_of, spec
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.image import check_image
from shopfloor.engine.sandbox.port import Environment, EnvironmentFailed, ImageMissing, Sandbox
from shopfloor.engine.workspace import WorkspaceLost

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

SETUP = "from setuptools import setup; setup(name='sample', version='1', py_modules=['sample'])"


async def fill(sandbox: Sandbox) -> None:
    await sandbox.write_file("setup.py", SETUP.encode())
    await sandbox.write_file("sample.py", b"def answer():\n    return 42\n")
    await sandbox.write_file("lock.txt", b"one==1\n")


async def remove_images(boxes: DockerSandboxes, *names: str) -> None:
    for name in names:
        await boxes._launcher.engine.remove_image(name)


async def test_an_editable_install_is_there_in_the_next_sandbox_and_can_not_be_changed(boxes: DockerSandboxes):
    setup = (
        "pip install --no-index --no-build-isolation -e .",
        "mkdir built && echo data > built/file",
        "echo x > $HOME/note",
    )
    environment = Environment(setup=setup)
    name = await boxes.prepare(environment, spec(), fill)
    sandbox = await boxes.open(spec(image=name))
    await fill(sandbox)
    assert await output_of(sandbox, "cd / && python -c 'import sample; print(sample.answer())'") == "42"
    assert await output_of(sandbox, "cat built/file /opt/env/home/note; which python") == "data\nx\n/opt/env/bin/python"
    assert "Read-only" in await output_of(sandbox, "touch /opt/env/x 2>&1")
    await sandbox.aclose()
    again = await boxes.prepare(environment, spec(), _must_not_fill)
    assert again == name
    await remove_images(boxes, name)


async def _must_not_fill(_: Sandbox) -> None:
    raise AssertionError("it was built again")


async def test_the_key_follows_commands_and_lock_files(boxes: DockerSandboxes):
    async def other_lock(sandbox: Sandbox) -> None:
        await fill(sandbox)
        await sandbox.write_file("lock.txt", b"one==2\n")

    environment = Environment(setup=("true",), lock_files=("lock.txt",))
    first = await boxes.prepare(environment, spec(), fill)
    same = await boxes.prepare(environment, spec(), fill)
    changed = await boxes.prepare(environment, spec(), other_lock)
    assert first == same != changed
    await remove_images(boxes, first, changed)


async def test_what_one_project_built_is_not_given_to_another(boxes: DockerSandboxes):
    async def private(sandbox: Sandbox) -> None:
        await fill(sandbox)
        await sandbox.write_file("private.txt", b"of the first project")

    setup = ("cp private.txt /opt/env/ 2>/dev/null || true",)
    mine = Environment(setup=setup, lock_files=("lock.txt",), scope="organization/first")
    first = await boxes.prepare(mine, spec(), private)
    second = await boxes.prepare(replace(mine, scope="organization/second"), spec(), fill)
    assert first != second
    shown = []
    for image in (first, second):
        sandbox = await boxes.open(spec(image=image))
        shown.append(await output_of(sandbox, "cat /opt/env/private.txt"))
        await sandbox.aclose()
    assert shown[0] == "of the first project"  # the positive control
    assert "No such file" in shown[1]
    await remove_images(boxes, first, second)


async def test_without_lock_files_another_commit_is_built_anew(boxes: DockerSandboxes):
    one = Environment(setup=("pwd > /opt/env/made",), commit="a" * 40)
    first = await boxes.prepare(one, spec(), fill)
    assert await boxes.prepare(one, spec(), _must_not_fill) == first
    second = await boxes.prepare(replace(one, commit="b" * 40), spec(), fill)
    assert second != first
    await remove_images(boxes, first, second)


async def test_an_environment_of_another_project_is_no_base(boxes: DockerSandboxes):
    name = await boxes.prepare(Environment(setup=("true",), scope="organization/first"), spec(), fill)
    found = await boxes._launcher.engine.image(name)
    assert found is not None
    with pytest.raises(EnvironmentFailed, match="built for one project"):
        await boxes.prepare(Environment(image=found["Id"], scope="organization/second"), spec(), _must_not_fill)
    await remove_images(boxes, name)


async def test_a_local_image_may_be_named_by_its_id(boxes: DockerSandboxes):
    ident = await check_image(boxes._launcher.engine)
    name = await boxes.prepare(Environment(image=ident), spec(), _must_not_fill)
    sandbox = await boxes.open(spec(image=name))
    assert await output_of(sandbox, "echo fine") == "fine"
    await sandbox.aclose()
    with pytest.raises(ImageMissing, match="docker load"):
        await boxes.prepare(Environment(image="sha256:" + "0" * 64), spec(), _must_not_fill)


async def test_only_the_allowed_images_may_be_named_where_there_is_a_list(image: None, tmp_path: Path):
    async with backend(tmp_path, images=("sha256:" + "1" * 64,)) as boxes:
        ident = await check_image(boxes._launcher.engine)
        with pytest.raises(EnvironmentFailed, match="SHOPFLOOR_SANDBOX__IMAGES"):
            await boxes.prepare(Environment(image=ident), spec(), _must_not_fill)
        with pytest.raises(ImageMissing):  # the one on the list is let through
            await boxes.prepare(Environment(image="sha256:" + "1" * 64), spec(), _must_not_fill)
    async with backend(tmp_path, images=(ident,)) as boxes:
        assert await boxes.prepare(Environment(image=ident), spec(), _must_not_fill) == ident


async def test_pruning_keeps_what_was_used_last_and_other_installs(image: None, tmp_path: Path):
    async with backend(tmp_path) as mine, backend(tmp_path) as other:
        theirs = await other.prepare(Environment(setup=("echo theirs",)), spec(), fill)
        first = await mine.prepare(Environment(setup=("echo first",)), spec(), fill)
        second = await mine.prepare(Environment(setup=("echo second",)), spec(), fill)
        await mine.prepare(Environment(setup=("echo first",)), spec(), _must_not_fill)
        assert await mine.prune_environments(keep=1) == 1
        engine = mine._launcher.engine
        assert [await engine.image(name) is not None for name in (theirs, first, second)] == [True, True, False]
        await remove_images(mine, theirs, first)


async def test_a_failing_command_is_told_with_the_end_of_its_output(boxes: DockerSandboxes):
    with pytest.raises(EnvironmentFailed, match="no such thing") as caught:
        await boxes.prepare(Environment(setup=("echo no such thing; exit 4",)), spec(), fill)
    assert caught.value.facts["exit_code"] == 4


async def test_a_command_that_hangs_fails_at_the_limit(image: None, tmp_path: Path):
    async with backend(tmp_path, environment_build_s=6) as boxes:
        with pytest.raises((EnvironmentFailed, WorkspaceLost), match="ran out of time"):
            await boxes.prepare(Environment(setup=("sleep 100",)), spec(), fill)


async def test_an_image_without_digest_is_refused(boxes: DockerSandboxes):
    with pytest.raises(EnvironmentFailed, match="by digest"):
        await boxes.prepare(Environment(image="python:3.12", setup=("true",)), spec(), fill)


async def test_an_image_that_is_not_here_is_not_pulled(boxes: DockerSandboxes):
    with pytest.raises(ImageMissing, match="workers never pull"):
        await boxes.prepare(Environment(image="python@sha256:" + "0" * 64, setup=("true",)), spec(), fill)


async def test_a_missing_lock_file_is_told(boxes: DockerSandboxes):
    with pytest.raises(EnvironmentFailed, match=r"lock file no\.lock"):
        await boxes.prepare(Environment(setup=("true",), lock_files=("no.lock",)), spec(), fill)


async def test_without_set_up_the_image_itself_is_the_environment(boxes: DockerSandboxes):
    name = await boxes.prepare(Environment(), spec(), _must_not_fill)
    sandbox = await boxes.open(spec(image=name))
    assert await output_of(sandbox, "echo fine") == "fine"
    await sandbox.aclose()
