"""Each variant is a behaviour; FAKE_VARIANTS chooses those that the engine says it has."""

import os
import sys
import time

import numpy as np

from depthwise.measure import streams
from depthwise.measure.engine import Prepared
from depthwise.problem import reference


class Engine:
    name = "fake"

    def __init__(self, threads):
        self.variants = tuple(os.environ.get("FAKE_VARIANTS", "right").split(","))
        self._threads = threads
        sys.stdout.write("an engine that greets on stdout\n")

    def version(self):
        names = ("OMP_NUM_THREADS", "TVM_NUM_THREADS", "MALLOC_MMAP_MAX_")
        settings = [f"{name}={os.environ.get(name)}" for name in names]
        return " ".join([*settings, f"cores={sorted(os.sched_getaffinity(0))}"])

    def threads(self):
        return self._threads

    def rejects(self, spec, *_):
        return "no float64" if spec.dtype == "float64" else None

    def prepare(self, spec, variant, _clock, arrays):
        y = arrays[-1]
        runs = 0

        def run():
            nonlocal runs
            runs += 1
            expected = reference.forward(spec, *arrays[:-1])
            if variant == "unwritten":
                expected.flat[-1] = np.nan
            elif variant == "wrong" or (variant == "worse" and runs > 1):
                expected.flat[-1] += 1e-2
            elif variant == "raises":
                raise ValueError("this engine\nhas a reason in two lines")
            elif variant == "dies":
                sys.stderr.write("the last words\n")
                os.abort()
            elif variant == "sleeps":
                time.sleep(60)
            elif variant == "chats":
                sys.stdout.write('{"error": "this is not an answer"}\n')
                os.write(1, b"nor is this\n")
            y[...] = expected

        def output():
            if streams.has_state(spec):
                state = streams.expected(spec, arrays[:-1])[y.size :]
                return streams.together(y, state)
            return y.ravel() if variant == "flat" else y

        return Prepared(run, output, layout="NCHW", excluded="nothing")
