"""PostgreSQL's own user on a machine that is new: made once, however many processes start at the same moment."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

_MAKE = """
import sys
from shopfloor.infra import embedded
embedded._SERVER_USER = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
print(embedded._server_account().pw_uid)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users, and only root needs one")
def test_processes_that_start_at_once_make_one_user_and_agree_on_it():
    name = f"sf-test-{os.getpid()}"
    command = [sys.executable, "-c", _MAKE, name]
    starting = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    try:
        assert [process.stdout.readline() for process in starting] == ["ready\n"] * 4
        for process in starting:
            process.stdin.write("go\n")
        uids = {process.communicate(timeout=60)[0].strip() for process in starting}
        assert uids == {str(pwd.getpwnam(name).pw_uid)}
    finally:
        subprocess.run(["userdel", name], check=False, capture_output=True)
