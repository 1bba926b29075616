"""The process from which workers are forked: it has imported everything once, so that each worker starts at once.

`python -m tests.faults.nursery` reads one JSON document a line (`{"id", "environment", "log"}` and what it is to be),
forks a worker for each, and writes one a line: `{"id", "pid"}` when it has begun, `{"id", "ended"}` with its exit
status. With `command` (arguments) the process is that of `baton`; only the start of Python is left out. With `standin`
(a scenario file and a port) it is that of `baton standin`. Else it is a worker, which dies at a `moment`, if given.
"""

import asyncio
import ctypes
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

import anthropic  # noqa: F401 - what a worker imports as it starts, imported once for all

import workers.connection
import workers.core
import workers.embedded
import workers.service
import workers.worker  # noqa: F401
from baton.settings import read_settings
from interfaces.cli.engine import serving
from interfaces.cli.exits import leave
from interfaces.cli.main import run
from standin.server import run_forever
from tests.faults.injection import Moment, arm

_PR_SET_PDEATHSIG = 1
_OURS = ("BATON_", "ANTHROPIC_", "TEMPORAL_")


async def _work() -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with serving(read_settings()):
        print("ready", flush=True)
        await stopped.wait()


def _become_worker(order: dict[str, Any]) -> None:
    """In the forked process: a worker with this environment and no other."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open("/dev/null", os.O_RDONLY)
    for descriptor, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    for name in list(os.environ):
        if name.startswith(_OURS):
            del os.environ[name]
    os.environ.update(order["environment"])
    if order.get("command") is not None:
        leave(run(order["command"]))
    if (standin := order.get("standin")) is not None:
        run_forever(standin["scenario"], port=standin["port"])
        return
    if order.get("moment") is not None:
        arm(Moment(**order["moment"]), Path(order["environment"]["BATON_HOME"]))
    asyncio.run(_work())


def _say(**document: Any) -> None:
    print(json.dumps(document), flush=True)


def _reap(children: dict[int, int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _say(id=children.pop(pid), ended=os.waitstatus_to_exitcode(status))


def main() -> None:
    """Fork workers until nobody asks any more; then end those that are left."""
    children: dict[int, int] = {}
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    buffered = b""
    _say(id=-1, pid=os.getpid())
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 1024)
            _reap(children)
        if 0 not in ready:
            continue
        piece = os.read(0, 65_536)
        if not piece:
            break
        *lines, buffered = (buffered + piece).split(b"\n")
        for line in lines:
            order = json.loads(line)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(wake)
                os.close(waker)
                try:
                    _become_worker(order)
                except BaseException as error:  # a child must never go on as a second nursery
                    sys.stderr.write(f"{type(error).__name__}: {error}\n")
                    os._exit(1)
                os._exit(0)
            children[pid] = order["id"]
            _say(id=order["id"], pid=pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
