"""Which calls need a person's yes, and that a job can only be stricter than its project."""

from __future__ import annotations

import pytest

from shopfloor.domain.jobs.approval_rules import ApprovalRules, merged


@pytest.mark.parametrize(
    "command",
    [
        "git push",
        "git  push origin main",
        "cd x && git push",
        "true; git push -f",
        "(git push)",
        "echo $(git push)",
        "a\ngit push",
    ],
)
def test_a_command_is_asked_for_alone_and_as_a_part_of_a_line(command: str):
    assert ApprovalRules(commands=("git push*",)).asks_for("shell", {"command": command})


@pytest.mark.parametrize("command", ["git pull", "echo git-push", "pushd x", ""])
def test_other_commands_are_not(command: str):
    assert not ApprovalRules(commands=("git push*",)).asks_for("shell", {"command": command})


def test_a_tool_is_asked_for_whatever_its_arguments():
    rules = ApprovalRules(tools=("apply_patch",))
    assert rules.asks_for("apply_patch", {})
    assert not rules.asks_for("shell", {"command": "apply_patch"})


def test_without_rules_nothing_is_asked_for():
    assert not ApprovalRules().asks_for("shell", {"command": "rm -rf /"})


def test_a_job_adds_to_its_projects_rules_and_takes_nothing_away():
    project = {"commands": ["git push*"], "push": True, "by_others": True, "expires_after_s": 600}
    assert merged(project, {"commands": ["curl*"], "tools": ["shell"], "push": False, "expires_after_s": 3_600}) == {
        "commands": ["git push*", "curl*"], "tools": ["shell"], "push": True, "by_others": True,
        "expires_after_s": 600,
    }  # fmt: skip
    assert merged({}, {}) == {}
