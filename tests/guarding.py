"""The parent of `guarded.py`: hands problems over and fails where one goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


class GuardedProcess:
    """`guarded.py`, started again after each crash."""

    def __init__(self):
        self._process = None

    def check(self, spec, plan=None, runs=1, cpu=None):
        """Fail where a problem is computed wrongly, or touches more than its arrays."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("guarded.py"))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        problem = str(spec), plan and str(plan), runs, cpu
        self._process.stdin.write(json.dumps(problem) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            pytest.fail(f"the process ended with {self.close()} in {problem}")
        wrong = json.loads(answer)
        assert not wrong, f"{problem}: {wrong}"

    def close(self):
        """End the process; return how it ended, which is 0 where none was needed."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with process:
            process.stdin.close()
        return process.returncode
