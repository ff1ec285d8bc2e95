"""The process that tries a part: `python -m fuzz.worker PART SEED`.

Each line of its input is the number of a try; each line of its output, after one when it is ready,
is the outcome, as JSON.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import random
import sys
import traceback

from fuzz.parts import Outcome


def main(part: str, seed: str) -> None:
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a part prints is no answer
    with importlib.import_module(f"fuzz.{part}").attempts() as attempt:
        answers.write("ready\n")
        answers.flush()
        for line in sys.stdin:
            try:
                outcome = attempt(random.Random(f"{seed} {part} {line.strip()}"))
            except Exception:
                outcome = Outcome("wrong", traceback.format_exc())
            answers.write(json.dumps(outcome) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
