"""The open network under attack: it leads to what a person named, never to the machine or the engine's services."""

import asyncio
import json
import socket
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from baton.errors import ConfigurationError
from baton.settings.core import SandboxMode
from baton.settings.network_names import parse_grants
from tests.support.network_scene import OWN, PUBLIC, Names, company_proxy, machine_port, reached, site
from workspaces.project.baton_toml import GateConfig
from workspaces.project.gate import run_gate
from workspaces.sandbox.network import open_network as network_module
from workspaces.sandbox.network import proxy as proxy_module
from workspaces.sandbox.network.destinations import Destinations, ReservedServices
from workspaces.sandbox.network.open_network import PORT, NetworkPolicy
from workspaces.sandbox.network.upstream_proxy import UpstreamProxy
from workspaces.sandbox.sandbox import CommandResult, Sandbox, SandboxCommand


@pytest.fixture(scope="session")
async def closed() -> Sandbox:
    opened = await Sandbox.open_sandbox(SandboxMode.AUTO)
    opened.require_available()
    return opened


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


def box(
    closed: Sandbox,
    allow: str = "",
    names: Names | None = None,
    reserved: ReservedServices | None = None,
    upstream: UpstreamProxy | None = None,
) -> Sandbox:
    """The sandbox of this machine with an open network."""
    destinations = Destinations(parse_grants(allow), lambda: reserved or ReservedServices(), names or Names())
    return Sandbox(closed.status, closed.toolchains, network=NetworkPolicy(destinations, upstream))


async def run(sandbox: Sandbox, work: Path, text: str, *, network: bool = True) -> CommandResult:
    return await sandbox.run_command(
        SandboxCommand(argv=text, workspace=work, network=network, timeout=timedelta(seconds=90), output_limit=100_000)
    )


FETCH = f"""
import json, socket, sys
for text in json.load(open('asked.json')):
    proxy = socket.create_connection(('127.0.0.1', {PORT}), 30)
    proxy.settimeout(30)
    proxy.sendall(text.encode('latin-1'))
    answer = b''
    try:
        while piece := proxy.recv(65536):
            answer += piece
            if b'200 Connection established' in answer and b'REACHED' not in answer and text.count('\\r\\n\\r\\n') < 2:
                proxy.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    except OSError:
        pass
    print(json.dumps(answer.decode('latin-1')))
"""


async def ask(sandbox: Sandbox, work: Path, *requests: str) -> tuple[list[str], CommandResult]:
    """Send raw requests from inside to the proxy, one connection each; the raw answers."""
    (work / "asked.json").write_text(json.dumps(requests))
    (work / "fetch.py").write_text(FETCH)
    result = await run(sandbox, work, "python3 fetch.py")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()], result


def connect(authority: str) -> str:
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"


def get(url: str, more: str = "") -> str:
    return f"GET {url} HTTP/1.1\r\nHost: pypi.org\r\n{more}\r\n"


# --- open, as far as a person opened it


async def test_programs_find_what_a_person_named_and_nothing_else(closed: Sandbox, work: Path) -> None:
    async with site() as named, site() as other:
        sandbox = box(closed, f"registry.test:{named.port}, *", Names(registry_test=["127.0.0.1"]))
        script = (
            "import urllib.request, urllib.error\n"
            f"for url in ('http://registry.test:{named.port}/a?b', 'http://registry.test:{other.port}/'):\n"
            "    try:\n"
            "        print(urllib.request.urlopen(url, timeout=30).read().decode())\n"
            "    except urllib.error.HTTPError as error:\n"
            "        print(error.code, error.read().decode())\n"
        )
        (work / "try.py").write_text(script)
        result = await run(sandbox, work, f"python3 try.py; git ls-remote http://registry.test:{named.port}/x.git")
    assert result.output.startswith("REACHED\n403 Baton: the network refused registry.test"), result.output
    assert "BATON_NETWORK_ALLOW" in result.output
    assert named.requests[0].startswith(b"GET /a?b HTTP/1.1\r\nHost: registry.test:%d\r\n" % named.port)
    assert b"GET /x.git/info/refs" in named.requests[1]
    assert other.requests == []
    assert result.network is not None
    assert list(result.network.reached) == [f"registry.test:{named.port}"]
    assert result.network.reached[f"registry.test:{named.port}"] == len(named.requests)
    assert list(result.network.refused) == [f"registry.test:{other.port}"]


async def test_a_tunnel_carries_bytes_both_ways_and_the_exit_code_is_the_commands(closed: Sandbox, work: Path) -> None:
    async with site(b"echo") as echo:
        script = (
            "import hashlib, os, socket, sys\n"
            f"proxy = socket.create_connection(('127.0.0.1', {PORT}), 30)\n"
            f"proxy.sendall(b'CONNECT echo.test:{echo.port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
            "assert b' 200 ' in proxy.recv(1000)\n"
            "import threading\n"
            "data = os.urandom(3_000_000)\n"
            "threading.Thread(target=lambda: (proxy.sendall(data), proxy.shutdown(1))).start()\n"
            "back = b''\n"
            "while piece := proxy.recv(65536):\n"
            "    back += piece\n"
            "sys.exit(42 if back == data else 1)\n"
        )
        (work / "try.py").write_text(script)
        sandbox = box(closed, f"echo.test:{echo.port}", Names(echo_test=["127.0.0.1"]))
        assert (await run(sandbox, work, "python3 try.py")).exit_code == 42
        assert (await run(sandbox, work, "kill -9 $$")).exit_code == 137
        missing = await sandbox.run_command(SandboxCommand(argv=["no-such-program"], workspace=work, network=True))
        assert (missing.exit_code, "no-such-program" in missing.output) == (127, True)


async def test_no_program_inside_has_a_child_it_did_not_start(closed: Sandbox, work: Path) -> None:
    (work / "try.py").write_text(
        "import os\ntry:\n    os.wait()\nexcept ChildProcessError:\n    print('no child')\n"
        "print(sorted(os.listdir('/proc/self/fd')))"
    )
    result = await run(box(closed), work, "python3 try.py")
    assert result.output.startswith("no child\n['0', '1', '2', '3']"), result.output


async def test_requests_are_written_anew(closed: Sandbox, work: Path) -> None:
    async with site() as named:
        place = f"127.0.0.1:{named.port}"
        body = (
            "POST http://%s/ HTTP/1.1\r\nHost: evil.test\r\nTransfer-Encoding: chunked\r\n%s\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        answers, _ = await ask(
            box(closed, place),
            work,
            get(f"http://{place}/", "Proxy-Authorization: Basic eDp5\r\nConnection: x-one\r\nX-One: 1\r\nX-Two: 2\r\n"),
            body % (place, ""),
        )
    assert [answer.partition("\r\n\r\n")[2] for answer in answers] == ["REACHED", "REACHED"]
    first, second = (request.lower() for request in named.requests)
    assert b"x-two: 2" in first
    assert b"proxy-" not in first
    assert b"x-one" not in first
    assert b"pypi.org" not in first
    assert f"host: {place}".encode() in second
    assert b"evil.test" not in second


# --- the machine and the engine


@pytest.mark.parametrize("kind", ["connect", "get"])
async def test_no_way_leads_to_a_port_of_this_machine(closed: Sandbox, work: Path, kind: str) -> None:
    names = Names(
        localhost=["127.0.0.1"],
        rebound_test=["127.0.0.1"],
        six_test=["::1"],
        mixed_test=[PUBLIC, "127.0.0.1"],
        own_test=[*OWN, "127.0.1.1"],
        any_test=["0.0.0.0"],
        mapped_test=["::ffff:127.0.0.1"],
        nat_test=["64:ff9b::7f00:1"],
        meta_test=["169.254.169.254"],
        company_test=["10.1.2.3"],
    )
    with machine_port() as (port, four), machine_port("::") as (six_port, six):
        hosts = [
            *("127.0.0.1", "0.0.0.0", "localhost", "LOCALHOST.", "[::1]", "::1", "[::]", "127.1", "2130706433"),
            *("0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
            *("127.0.0.1.", "1.1.1.1", "[fe80::1%25lo]", "\x00127.0.0.1", "127.0.0.1 pypi.org", "pypi.org@127.0.0.1"),
            *("pypi.org\\@127.0.0.1", "pypi.org#127.0.0.1", "127。0。0。1", "", *OWN, *names.names),
        ]
        asked = []
        for host in hosts:
            for where in (port, six_port):
                text = connect(f"{host}:{where}") if kind == "connect" else get(f"http://{host}:{where}/")
                asked.append(text.encode().decode("latin-1"))
        everywhere = ",".join(["*", *(f"{name}:{where}" for name in ("*.test", "*") for where in (port, six_port))])
        answers, result = await ask(box(closed, everywhere, names), work, *asked)
        assert not reached(four)
        assert not reached(six)
    # 502: what is asked for is another name, which the test's resolver does not know.
    assert {answer.split(" ")[1] for answer in answers if answer} <= {"400", "403", "502"}, answers
    assert result.network is not None
    assert result.network.reached == {}


async def test_the_sandbox_has_no_other_way_out(closed: Sandbox, work: Path) -> None:
    with machine_port() as (port, listener), socket.socket(socket.AF_UNIX) as abstract:
        name = f"baton-test-{port}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        (work / "try.py").write_text(
            "import socket\n"
            f"hosts = {['127.0.0.1', '::1', '0.0.0.0', 'localhost', PUBLIC, *OWN]!r}\n"
            "for host in hosts:\n"
            "    try:\n"
            f"        socket.create_connection((host, {port}), 3)\n"
            "        print('REACHED', host)\n"
            "    except OSError:\n"
            "        pass\n"
            "try:\n"
            f"    socket.socket(socket.AF_UNIX).connect('\\0{name}')\n"
            "    print('REACHED abstract')\n"
            "except OSError as error:\n"
            "    print(error.errno)\n"
            "print(socket.if_nameindex())\n"
        )
        result = await run(
            box(closed, f"*,*:{port}"), work, "python3 try.py; ls -A /run /run/baton; cat /etc/resolv.conf"
        )
        assert not reached(listener)
    assert "REACHED" not in result.output
    assert result.output.startswith("111\n[(1, 'lo')]\n"), result.output
    assert "nameserver" not in result.output


async def test_the_engines_ports_are_refused_whatever_a_person_names(closed: Sandbox, work: Path) -> None:
    with machine_port() as (port, listener):
        reserved = ReservedServices(frozenset([port]), frozenset([("temporal.test", 443)]))
        allow = f"127.0.0.1:{port},[::1]:{port},engine.test:{port},temporal.test,temporal.test:443"
        names = Names(engine_test=["127.0.0.1"], temporal_test=[PUBLIC])
        answers, result = await ask(
            box(closed, allow, names, reserved),
            work,
            *(connect(f"{host}:{port}") for host in ("127.0.0.1", "[::1]", "engine.test")),
            connect("temporal.test:443"),
            get(f"http://127.0.0.1:{port}/"),
        )
        assert not reached(listener)
    assert [answer.split(" ")[1] for answer in answers] == ["403"] * 5
    assert all("service of the engine" in answer for answer in answers)
    assert result.network is not None
    assert result.network.reached == {}


async def test_a_redirect_is_looked_at_like_any_request(closed: Sandbox, work: Path) -> None:
    with machine_port() as (port, listener):
        to = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % port
        async with site(to) as named:
            script = (
                "import urllib.request, urllib.error\n"
                f"opener = urllib.request.build_opener(urllib.request.ProxyHandler({{'http': 'http://127.0.0.1:{PORT}'}}))\n"
                "import os; os.environ['no_proxy'] = ''\n"
                "try:\n"
                f"    print(opener.open('http://registry.test:{named.port}/', timeout=30).read())\n"
                "except urllib.error.HTTPError as error:\n"
                "    print(error.code, error.read())\n"
            )
            (work / "try.py").write_text(script)
            sandbox = box(closed, f"registry.test:{named.port}", Names(registry_test=["127.0.0.1"]))
            result = await run(sandbox, work, "python3 try.py")
        assert not reached(listener)
    assert result.output.startswith("403 "), result.output
    assert len(named.requests) == 1


async def test_a_request_hides_no_second_one(closed: Sandbox, work: Path) -> None:
    with machine_port() as (port, listener):
        async with site() as named:
            place, secret = f"127.0.0.1:{named.port}", f"127.0.0.1:{port}"
            hidden = connect(secret) + get(f"http://{secret}/")
            answers, _ = await ask(
                box(closed, place),
                work,
                get(f"http://{place}/") + hidden,
                get(f"http://{place}/", f"Host: {secret}\r\n"),
                get(f"http://{place}/", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n" + hidden,
                get(f"http://{place}/", "Transfer-Encoding: identity, chunked\r\n") + hidden,
                f"CONNECT {secret} HTTP/1.1\r\nHost: {place}\r\n\r\n",
                f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nContent-Length: 9\r\n\r\n{hidden}",
                f"CONNECT {place}@{secret} HTTP/1.1\r\nHost: {place}\r\n\r\n",
                f"CONNECT {secret}\t:{named.port} HTTP/1.1\r\nHost: {place}\r\n\r\n",
                connect(place) + hidden,
            )
        assert not reached(listener)
    # What stands behind a request is not read; behind a CONNECT it belongs to the host that was asked for.
    assert all(request.count(b" HTTP/1.1\r\n") == 1 for request in named.requests[:-1])
    assert named.requests[-1].startswith(b"CONNECT ")
    assert answers[-1].count("HTTP/1.1 200") == 2
    assert [answer.split(" ")[1] for answer in answers[4:8]] == ["403", "400", "400", "400"]


async def test_a_name_is_looked_up_once(closed: Sandbox, work: Path) -> None:
    async with site() as named:
        with machine_port("127.0.0.2") as (port, listener):
            # The second answer, which would be the one connected to, leads elsewhere.
            names = Names(moving_test=[["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]])
            assert port
            answers, _ = await ask(
                box(closed, f"moving.test:{named.port}", names), work, get(f"http://moving.test:{named.port}/")
            )
            assert not reached(listener)
    assert answers[0].endswith("REACHED")
    assert names.asked == ["moving.test"]


async def test_other_ports_and_protocols_are_said_not_to_be_open(closed: Sandbox, work: Path) -> None:
    names = Names(git_test=[PUBLIC], other_test=[PUBLIC])
    answers, result = await ask(
        box(closed, "git.test", names),
        work,
        connect("git.test:22"),
        connect("git.test:9418"),
        connect("other.test:443"),
        get("ftp://git.test/"),
        get("/"),
        "\x16\x03\x01hello\r\n\r\n",
    )
    assert [answer.split(" ")[1] for answer in answers] == ["403", "403", "403", "400", "400", "400"]
    assert "only the ports 80 and 443" in answers[0]
    assert "not one of the names" in answers[2]
    assert "not supported" in answers[3]
    assert result.network is not None
    assert set(result.network.refused) == {"git.test:22", "git.test:9418", "other.test:443"}


# --- limits


async def test_connections_and_bytes_are_bounded(closed: Sandbox, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(proxy_module, "MAX_BYTES", 1_000_000)
    async with site(b"echo") as echo:
        (work / "try.py").write_text(
            "import socket\n"
            "def tunnel():\n"
            f"    proxy = socket.create_connection(('127.0.0.1', {PORT}), 30)\n"
            f"    proxy.sendall(b'CONNECT 127.0.0.1:{echo.port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
            "    return proxy, proxy.recv(1000).split()[1].decode()\n"
            "held = [tunnel() for _ in range(5)]\n"
            "print([status for _proxy, status in held])\n"
            "moved = 0\n"
            "try:\n"
            "    while moved < 50_000_000:\n"
            "        held[0][0].sendall(b'x' * 100_000)\n"
            "        moved += len(held[0][0].recv(100_000)) or 100_000_000\n"
            "except OSError:\n"
            "    moved = 100_000_000\n"
            "print('ended', moved >= 100_000_000)\n"
        )
        result = await run(box(closed, f"127.0.0.1:{echo.port}"), work, "python3 try.py")
    assert result.output == "['200', '200', '200', '503', '503']\nended True\n"
    assert result.network is not None
    assert "more than" in result.network.describe_use()[0]


async def test_what_is_told_is_bounded(closed: Sandbox, work: Path) -> None:
    answers, result = await ask(box(closed), work, *(connect(f"host{number}.test:443") for number in range(100)))
    assert {answer.split(" ")[1] for answer in answers} == {"502"}
    assert result.network is not None
    lines = result.network.describe_use()
    assert len(lines) < 50
    assert lines[-1] == "the network was asked for 60 more"


async def test_nothing_is_left_when_the_command_ends(
    closed: Sandbox, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with site(b"echo") as echo:
        (work / "try.py").write_text(
            "import os, socket\n"
            f"s = socket.create_connection(('127.0.0.1', {PORT}))\n"
            f"s.sendall(b'CONNECT 127.0.0.1:{echo.port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
            "s.recv(99)\n"
            "os.fork() or os.execvp('sleep', ['sleep', '600'])\n"
        )
        result = await run(box(closed, f"127.0.0.1:{echo.port}"), work, "python3 try.py")
        assert result.exit_code == 0
    assert not list(Path(tempfile.gettempdir()).glob("baton-network-*/proxy"))
    assert [task for task in asyncio.all_tasks() if "Proxy.handle" in repr(task)] == []


# --- the machine's own proxy


async def test_the_machines_own_proxy_is_asked_and_its_password_stays_outside(closed: Sandbox, work: Path) -> None:
    async with company_proxy() as (port, heads):
        upstream = UpstreamProxy.parse_environment(f"http://anna:hunter2@127.0.0.1:{port}", "direct.test")
        names = Names(free_test=[PUBLIC], inner_test=["10.0.0.1"], rebound_test=["127.0.0.1"])
        sandbox = box(closed, "", names, upstream=upstream)
        answers, _ = await ask(
            sandbox,
            work,
            connect("free.test:443"),
            get("http://free.test/"),
            *map(connect, ("inner.test:443", "rebound.test:443", "unknown.test:443", "127.0.0.1:443")),
        )
        named = box(closed, "unknown.test, free.test", names, upstream=upstream)
        more, _ = await ask(named, work, connect("unknown.test:443"), connect("free.test:443"))
        env = await run(sandbox, work, "env; cat /proc/*/environ /proc/*/cmdline; ls -R /run")
    assert [answer.split(" ")[1] for answer in answers] == ["200", "200", "403", "403", "403", "403"]
    assert [answer.split(" ")[1] for answer in more] == ["200", "200"]
    # An unnamed host by the address that was looked at, so that the proxy cannot be led elsewhere; a named one by name.
    asked = [head.split(" ")[1] for head in heads]
    assert asked == [f"{PUBLIC}:443", f"{PUBLIC}:80", "unknown.test:443", "free.test:443"]
    assert all("Proxy-Authorization: Basic YW5uYTpodW50ZXIy" in head for head in heads)
    assert "hunter2" not in env.output
    assert "YW5uYTpodW50ZXIy" not in env.output


async def test_a_proxy_that_refuses_is_said(closed: Sandbox, work: Path) -> None:
    async with company_proxy("407 Proxy Authentication Required") as (port, _heads):
        upstream = UpstreamProxy.parse_environment(f"127.0.0.1:{port}", None)
        answers, result = await ask(box(closed, "a.test", upstream=upstream), work, connect("a.test:443"))
    assert answers[0].startswith("HTTP/1.1 502 ")
    assert result.network is not None
    assert "own proxy answers 407" in result.network.describe_use()[0]


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1080", "http://:pw@", "ftp://x", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as error:
        UpstreamProxy.parse_environment(url, None)
    assert "pw" not in str(error.value)


# --- closed


async def test_without_a_persons_word_it_stays_closed_and_says_so(closed: Sandbox, work: Path) -> None:
    with machine_port() as (port, listener):
        attack = f'import socket; socket.create_connection(("127.0.0.1", {port}), 5)'
        text = f"python3 -c '{attack}'; env | grep -i '^https*_proxy'"
        result = await run(closed, work, text)
        assert not reached(listener)
    assert result.network is not None
    assert "BATON_SANDBOX_NETWORK" in result.network.describe_use()[0]
    assert "refused" in result.output
    assert "PROXY=" not in result.output.upper()
    assert (await run(box(closed), work, "true", network=False)).network is None


async def test_where_no_python_is_visible_it_stays_closed_and_says_so(
    closed: Sandbox, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_module, "_find_interpreter", lambda _toolchains: None)
    sandbox = box(closed)
    assert "no Python" in sandbox.network_fault()
    result = await run(sandbox, work, "echo ran")
    assert result.output == "ran\n"
    assert result.network is not None
    assert "no Python" in result.network.describe_use()[0]


async def test_evidence_and_log_of_a_gate_name_the_hosts(closed: Sandbox, tmp_path: Path) -> None:
    async def checkout(_commit: str, _directory: Path) -> None:
        """An empty tree."""

    async with site() as named:
        place = f"127.0.0.1:{named.port}"
        fetch = (
            f"python3 -c \"import socket; s = socket.create_connection(('127.0.0.1', {PORT}));"
            f" s.sendall(b'GET http://{place}/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(s.recv(999));"
            f" s = socket.create_connection(('127.0.0.1', {PORT}));"
            " s.sendall(b'CONNECT evil.test:443 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(s.recv(999))\""
        )
        evidence, log = await run_gate(
            checkout, "c0ffee", tmp_path / "g", GateConfig(test=fetch), box(closed, place), network=True
        )
    assert evidence.is_green
    assert evidence.network[0].startswith("the network refused evil.test:443: it is not one of the names")
    assert evidence.network[1] == f"reached by the network: {place} (1)"
    assert "[test] the network refused evil.test:443" in log.read_text()
