"""The fork server of the tests: a process that has imported Baton once, from which its processes are forked.

Why it stays: a worker takes 2.8 s of processor time to import what it needs, the SDK of Anthropic half of that, and a
command 0.2 s. The crash matrix alone starts 64 workers, which would be three minutes of a processor, and the tests
of the command line call `baton` several hundred times. A forked process takes 0.03 s, and one start of this server is
paid for by its first worker. What is left out is only the start of Python: tests of the installed command and of the
start itself (`tests/cli/conftest.py: BATON`) run the real program. The standard library's
`multiprocessing.forkserver` gives its children no environment and no streams of their own.

`python -m tests.support.nursery N` takes orders from the socket that is its descriptor N (`tests/support/forked.py`
gives them), one JSON document with the descriptors of stdin, stdout and stderr each, and answers `{"id", "pid"}` when
the process has begun and `{"id", "ended"}` with its exit status. An order says `be`, the kind of process:

    baton       the command with these `arguments`, as it is installed
    worker      a worker that dies at a `moment`, if given
    standin     a stand-in for the Messages API that plays a scenario file on a port

and `refused`, whether the test may start no Temporal server (`tests.support.server_guard`).
"""

import asyncio
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import anthropic
import pytest
import rich.console
import rich.live
import rich.table

import interfaces.cli.commands.agents
import interfaces.cli.commands.codec_server
import interfaces.cli.commands.config
import interfaces.cli.commands.decide
import interfaces.cli.commands.demo
import interfaces.cli.commands.diff
import interfaces.cli.commands.doctor.machine
import interfaces.cli.commands.fork
import interfaces.cli.commands.guide
import interfaces.cli.commands.list
import interfaces.cli.commands.log
import interfaces.cli.commands.run
import interfaces.cli.commands.show
import interfaces.cli.commands.standin
import interfaces.cli.commands.stop
import interfaces.cli.commands.store.gc
import interfaces.cli.commands.up
import interfaces.cli.commands.watch
import interfaces.cli.commands.webhook
import interfaces.cli.commands.worker
import interfaces.github.server
import workers.connection
import workers.embedded.server
import workers.sdk_runtime
import workers.temporal_service
import workers.worker
from baton.settings.core import read_settings
from interfaces.cli import main as command
from interfaces.cli.runs.runtime import use_service
from standin.server.server import run_forever
from tests.faults.injection import Moment, arm
from tests.support.server_guard import refuse_servers

IMPORTED = (anthropic, rich, workers, interfaces)
"""What Baton imports only where it is needed, and here once for all."""

LARGEST = 200_000
"""Bytes of an order; an environment is most of it."""

_PR_SET_PDEATHSIG = 1


async def _work() -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with use_service(read_settings()):
        print("ready", flush=True)
        await stopped.wait()


def _become(order: dict[str, Any], streams: list[int]) -> None:
    """In the forked process: be what was ordered, with this environment and no other."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    if order["refused"]:
        refuse_servers(pytest.MonkeyPatch())
    match order["be"]:
        case "baton":
            sys.argv = ["baton", *order["arguments"]]
            command.main()
        case "standin":
            run_forever(order["scenario"], port=order["port"])
        case "worker":
            if order["moment"] is not None:
                arm(Moment(**order["moment"]), Path(order["environment"]["BATON_HOME"]))
            asyncio.run(_work())


def _reap(orders: socket.socket, children: dict[int, int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        orders.send(json.dumps({"id": children.pop(pid), "ended": os.waitstatus_to_exitcode(status)}).encode())


def main() -> None:
    """Fork processes until nobody asks any more; then end those that are left."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    children: dict[int, int] = {}
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.freeze()
    while True:
        ready, _, _ = select.select([orders.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 1024)
            _reap(orders, children)
        if orders.fileno() not in ready:
            continue
        piece, streams, _, _ = socket.recv_fds(orders, LARGEST, 3)
        if not piece:
            break
        order = json.loads(piece)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for ours in (orders.fileno(), wake, waker):
                os.close(ours)
            try:
                _become(order, streams)
            except BaseException:  # a child must never go on as a second nursery
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        for descriptor in streams:
            os.close(descriptor)
        children[pid] = order["id"]
        orders.send(json.dumps({"id": order["id"], "pid": pid}).encode())
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
