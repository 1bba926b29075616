"""The session keyring of the worker: no command sees it, with or without isolation, and it stays the worker's."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HANGS

SCRIPT = """
import asyncio, ctypes, json, os, sys
from pathlib import Path
from baton.settings.core import SandboxMode
from workspaces.sandbox.sandbox import SandboxCommand, Sandbox

KEYCTL, ADD_KEY = (250, 248) if os.uname().machine == "x86_64" else (219, 217)
SESSION = -3
libc = ctypes.CDLL(None, use_errno=True)
long = ctypes.c_long

def join(): return libc.syscall(long(KEYCTL), long(1), None)
def own(): return libc.syscall(long(KEYCTL), long(0), long(SESSION), long(0))

if join() < 0:
    print(json.dumps(None))
    sys.exit()
before = own()
key = libc.syscall(long(ADD_KEY), b"user", b"baton-canary", b"CANARY", long(6), long(SESSION))
assert key > 0

READ = f'''
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
long = ctypes.c_long
buffer = ctypes.create_string_buffer(100)
print("session", libc.syscall(long({KEYCTL}), long(0), long(-3), long(0)))
print("found", libc.syscall(long({KEYCTL}), long(10), long(-3), b"user", b"baton-canary", long(0)))
print("read", libc.syscall(long({KEYCTL}), long(11), long({key}), buffer, long(100)), buffer.value)
print(open("/proc/keys").read() if {{isolated}} else "")
'''

async def main():
    said = {}
    for mode in (SandboxMode.AUTO, SandboxMode.NONE):
        sandbox = await Sandbox.open_sandbox(mode)
        work = Path(sys.argv[1]) / mode.value
        work.mkdir()
        (work / "read.py").write_text(READ.replace("{isolated}", str(mode == SandboxMode.AUTO)))
        command = SandboxCommand(argv=["python3", "read.py"], workspace=work)
        results = [await sandbox.run_command(command) for _ in range(2)]
        said[mode.value] = [result.output for result in results]
    print(json.dumps({"before": before, "after": own(), "key": key, **said}))

asyncio.run(main())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="numbers of two architectures")
def test_each_command_has_a_new_and_empty_session_keyring(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=HANGS.total_seconds(),
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    if said is None:
        pytest.skip("this machine has no keyrings")
    assert said["before"] == said["after"]
    for output in [*said["auto"], *said["none"]]:
        assert "CANARY" not in output
        assert "canary" not in output
        assert "found -1" in output
        assert "read -1" in output
    # Without isolation nothing refuses the call: the keyring itself is another one, each time.
    sessions = [output.split()[1] for output in said["none"]]
    assert len({*sessions, str(said["before"])}) == 3
    assert all("Permission denied: '/proc/keys'" in output for output in said["auto"])
