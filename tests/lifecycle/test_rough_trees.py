"""What an agent may do to its files: fill the disk, flood the output, break .git, name files as it likes."""

import asyncio

import pytest

from engine.git.git_http_server import GitServer
from lifecycle.shop import Shop, shell

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-input")]

FLOOD = "head -c 100000000 /dev/zero | tr '\\0' x | fold -w 99"
NAMES = ["a\nb.txt", "🦀.rs", "مرحبا.txt", "\u202egnp.exe", " lead", "tail ", 'quo"te', "back\\slash", "-rf", "ñ.txt"]


async def test_a_full_disk_is_told_to_the_model_which_goes_on_once_there_is_room(shop: Shop) -> None:
    fill = "for n in 1 2 3; do head -c 40000000 /dev/urandom > big$n; done"
    task = shop.script("disk", shell("echo first > first.txt"), shell(fill), shell("rm big*; echo ok > ok.txt"))

    job = await shop.run(task, within_s=120)

    told = await shop.results(job.id)
    assert job.state == "succeeded", await shop.story(job.id)
    assert "No space left on device" in told[1]
    assert told[1].endswith("[The workspace's disk is full: its state can't be saved. Delete large files.]")
    assert [change["path"] for change in job.changes or []] == ["first.txt", "ok.txt"]


async def test_a_disk_that_stays_full_ends_the_job_with_what_could_be_saved(shop: Shop) -> None:
    fill = "echo later > later.txt; for n in 1 2 3; do head -c 40000000 /dev/urandom > big$n; done"
    task = shop.script("disk-stays", shell("echo first > first.txt"), shell(fill))

    job = await shop.run(task, within_s=120)

    assert (job.state, job.ending, job.runs) == ("failed", "workspace-full", 1), await shop.story(job.id)
    assert [change["path"] for change in job.changes or []] == ["first.txt"]


async def test_a_hundred_megabytes_of_output_are_an_artifact_and_the_job_goes_on(shop: Shop) -> None:
    task = shop.script("flood", shell(FLOOD), shell("echo on > on.txt"))

    job = await shop.run(task, within_s=120)

    assert job.state == "succeeded", await shop.story(job.id)
    sizes = await shop.artifacts(job.id)
    assert max(sizes.values()) == 100_000_000 + 100_000_000 // 99
    told = await shop.results(job.id)
    assert len(told[0]) < 30_000
    assert "left out" in told[0]
    assert [change["path"] for change in job.changes or []] == ["on.txt"]


async def test_binary_files_are_in_the_diff_and_in_the_patch(shop: Shop, server: GitServer) -> None:
    task = shop.script("binary", shell("head -c 5000 /dev/urandom > noise.bin; printf 'a\\0b' > nul"))

    job = await shop.run(task, repo_url=server.url("sample.git"))

    assert job.state == "succeeded", await shop.story(job.id)
    assert [(change["path"], change["binary"]) for change in job.changes or []] == [("noise.bin", True), ("nul", True)]
    assert (await shop.patch(job)).count("GIT binary patch") == 2


async def test_a_job_that_changes_nothing_succeeds_with_an_empty_diff(shop: Shop, server: GitServer) -> None:
    task = shop.script("nothing", shell("ls"))

    job = await shop.run(task, repo_url=server.url("sample.git"), checks=["true"], push_branch="nothing")

    assert (job.state, job.verified, job.changes, job.pushed) == ("succeeded", True, [], None)
    assert await shop.patch(job) == ""


async def test_file_names_in_any_script_and_with_any_character_come_back_as_they_are(shop: Shop) -> None:
    write = "\n".join(f"printf x > ./{quoted(name)}" for name in NAMES)
    task = shop.script("names", shell(write), shell("mkdir -p 深/い; printf y > 深/い/木.txt"))

    job = await shop.run(task)

    assert job.state == "succeeded", await shop.story(job.id)
    assert {change["path"] for change in job.changes or []} == {*NAMES, "深/い/木.txt"}


async def test_an_agent_that_destroys_its_git_folder_loses_nothing(shop: Shop, server: GitServer) -> None:
    breaks = {
        "gone": "rm -rf .git",
        "garbage": "echo garbage > .git/HEAD; rm -rf .git/objects",
        "a-file": "rm -rf .git; echo gitdir: /etc > .git",
        "a-link": "rm -rf .git; ln -s /tmp .git",
        "closed": "chmod -R a-rwx .git",
    }
    tasks = [
        shop.script(f"git-{name}", shell("echo 1 > one.txt"), shell(f"{broken}; echo 2 > two.txt"), shell("echo 3 > 3"))
        for name, broken in breaks.items()
    ]

    jobs = await asyncio.gather(*(shop.run(task, repo_url=server.url("sample.git"), within_s=120) for task in tasks))

    for name, job in zip(breaks, jobs, strict=True):
        assert job.state == "succeeded", f"{name}\n{await shop.story(job.id)}"
        assert [change["path"] for change in job.changes or []] == ["3", "one.txt", "two.txt"], name


def quoted(name: str) -> str:
    return "$'" + name.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
