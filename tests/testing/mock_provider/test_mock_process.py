from __future__ import annotations

import signal
import subprocess
import sys

import httpx2
import pytest


def test_it_runs_as_a_process_says_where_and_stops_on_sigterm():
    command = [sys.executable, "-m", "shopfloor.testing.mock_provider", "--port", "0", "--scenario", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            url = line.split()[2]
            headers = {"authorization": "Bearer sk-mock-x"}
            models = httpx2.get(f"{url}/v1/models", headers=headers, timeout=60).json()  # it may still be loading
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
        finally:
            process.kill()  # nothing to do where it has stopped; else the block would wait for ever
    assert line == f"mock provider: {url} (scenario demo)\n"
    assert [model["id"] for model in models["data"]] == ["mock-small", "mock-coder"]


@pytest.mark.parametrize("arguments", [["--scenario", "nowhere.yaml"], ["--host", "host.invalid"]])
def test_what_it_cannot_use_ends_it_with_a_sentence(arguments):
    command = [sys.executable, "-m", "shopfloor.testing.mock_provider", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert arguments[1] in done.stderr
    assert "Traceback" not in done.stderr
