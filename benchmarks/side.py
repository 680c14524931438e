# SPDX-License-Identifier: MIT
"""A side is a process that answers with times.

Each peer runs in processes of its own: what one of them patches, starts or
leaves behind does not touch the others. The measuring process sends orders,
lines of JSON, and the sides take turns.

    {"module": "lifecycle", "work": "create", "count": 100, ...}
    {"value": 31.7}        or    {"failed": "OSError: ..."}

Orders name a function WORK(peer, state, **arguments) of MODULE, which returns
a number. `state` is a dict that lives as long as the side; what is put there
under "close" is called at its end.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent


class Lost(Exception):
    """The peer gave back other bytes than it was given."""


class Side:
    """The measuring process's end."""

    def __init__(
        self, name: str, log: IO[bytes], prefix: tuple[str, ...] = ()
    ) -> None:
        # imported here: the other end must import no peer but its own
        self.name = name
        self.log = log
        self.process = subprocess.Popen(
            [*prefix, sys.executable, __file__, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            bufsize=1,
        )

    def ask(self, module: str, work: str, timeout: float, **more: Any) -> Any:
        from paired import Failed

        order = {"module": module, "work": work, **more}
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
        except (BrokenPipeError, ValueError):
            raise Failed(self.epitaph()) from None
        answer = self.answer(timeout)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["value"]

    def answer(self, timeout: float) -> dict[str, Any]:
        from paired import Failed

        stdout = self.process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                self.process.kill()
                raise Failed(f"no answer in {timeout:.0f} s")
        line = stdout.readline()
        if not line:
            raise Failed(self.epitaph())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def epitaph(self) -> str:
        status = self.process.wait(timeout=30)
        return f"its process ended with {status}"

    def close(self) -> None:
        """Lets it end, and kills what does not."""
        try:
            self.process.communicate(timeout=30)
        except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
            self.process.kill()
            self.process.wait()


class Sides:
    """The sides of one question, those that can take part. `prefix` comes
    before the command of each: machine.private() is one."""

    def __init__(self, names: list[str], prefix: tuple[str, ...] = ()) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (until __exit__)
        self.sides = {name: Side(name, self.log, prefix) for name in names}

    def __enter__(self) -> dict[str, Side]:
        return self.sides

    def __exit__(self, *exception: object) -> None:
        for side in self.sides.values():
            side.close()
        self.log.close()


def carry_out(peer: Any, state: dict[str, Any], order: dict[str, Any]) -> Any:
    work = getattr(import_module(order.pop("module")), order.pop("work"))
    return work(peer, state, **order)


def serve(name: str) -> None:
    """The side's end. What a peer prints goes to the log, not to the pipe."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import peers

    peer = peers.load(name)
    state: dict[str, Any] = {"close": []}
    try:
        for line in sys.stdin:
            try:
                answer = {"value": carry_out(peer, state, json.loads(line))}
            except Lost as lost:
                answer = {"failed": f"LOSES DATA: {lost}"}
            except Exception as error:
                answer = {"failed": f"{type(error).__name__}: {error}"[:120]}
            answers.write(json.dumps(answer) + "\n")
    finally:
        for close in reversed(state["close"]):
            close()


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    serve(sys.argv[1])
