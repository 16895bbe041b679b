"""Which commands judge a project, looked up before its agent works, and what they came to."""

import json
from pathlib import Path

import pytest

from shopfloor.domain.jobs.checks import CheckResult, detect_checks, run_checks, verdict
from shopfloor.testing.folder_workspace import FolderWorkspace

PYTEST, MAKE, NPM = ["python3 -m pytest -q"], ["make test"], ["npm test --silent"]


def package(**scripts: str) -> str:
    return json.dumps({"name": "x", "scripts": scripts})


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        ({}, []),
        ({"README.md": "run the tests\n", "tests/notes.txt": "no manifest\n"}, []),
        ({"pyproject.toml": "", "tests/test_a.py": ""}, PYTEST),
        ({"pyproject.toml": "", "src/a.py": ""}, []),
        ({"requirements.txt": "", "test/test_a.py": ""}, PYTEST),
        ({"conftest.py": ""}, PYTEST),
        ({"pytest.ini": ""}, PYTEST),
        ({"Makefile": "all:\n\techo\n\ntest: all\n\techo\n"}, MAKE),
        ({"Makefile": "test:\n\techo\n"}, MAKE),
        ({"Makefile": "test:\n\techo\n", "pyproject.toml": "", "tests/a.py": ""}, MAKE),
        ({"Makefile": "latest:\n\techo\nall: test\n"}, []),
        ({"Makefile": "# test:\n", "pyproject.toml": "", "tests/a.py": ""}, PYTEST),
        ({"package.json": package(test="vitest run")}, NPM),
        ({"package.json": package(test='echo "Error: no test specified" && exit 1')}, []),
        ({"package.json": package(build="tsc")}, []),
        ({"package.json": "{not json"}, []),
        ({"package.json": "[1, 2]"}, []),
        ({"package.json": '{"scripts": null}'}, []),
        ({"go.mod": "module x\n"}, ["go test ./..."]),
        ({"Cargo.toml": ""}, ["cargo test --quiet"]),
        ({"pom.xml": ""}, ["mvn -q test"]),
        ({"go.mod": "", "Cargo.toml": ""}, ["go test ./..."]),
        ({"deep/Makefile": "test:\n\techo\n"}, []),
    ],
    ids=lambda value: ",".join(value) or "none",
)
async def test_a_projects_shape_names_its_checks(tmp_path: Path, files: dict[str, str], commands: list[str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert await detect_checks(FolderWorkspace(tmp_path)) == commands


async def test_a_manifest_that_is_a_folder_or_leads_outside_names_nothing(tmp_path: Path) -> None:
    (outside := tmp_path / "outside").write_text("test:\n\techo\n")
    (tree := tmp_path / "tree").mkdir()
    (tree / "Makefile").symlink_to(outside)
    (tree / "package.json").mkdir()

    assert await detect_checks(FolderWorkspace(tree)) == []


async def test_each_command_runs_and_only_exit_status_zero_passes(tmp_path: Path) -> None:
    results = await run_checks(FolderWorkspace(tmp_path), ["true", "exit 3", "kill -9 $$", "sleep 30"], timeout_s=0.5)

    told = [(result.passed, result.exit_code, result.timed_out) for result in results]
    assert told == [(True, 0, False), (False, 3, False), (False, None, False), (False, None, True)]
    assert verdict(results) is False


async def test_what_people_see_of_a_check_is_the_end_of_its_output_without_what_cant_be_stored(tmp_path: Path) -> None:
    flood = "head -c 20000 /dev/zero | tr '\\0' x; printf 'a\\0b\\377end'"
    (result,) = await run_checks(FolderWorkspace(tmp_path), [flood], timeout_s=20)

    assert result.output.startswith("[... ")
    assert result.output.splitlines()[0].endswith("characters left out ...]")
    assert result.output.endswith("xa\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}end")
    assert len(result.output) < 8_100


def test_nothing_checked_is_neither_verified_nor_refuted() -> None:
    passed = CheckResult("true", passed=True, exit_code=0, timed_out=False, duration_s=0.1, output="")
    failed = CheckResult("false", passed=False, exit_code=1, timed_out=False, duration_s=0.1, output="")

    assert [verdict([]), verdict([passed]), verdict([passed, failed])] == [None, True, False]
