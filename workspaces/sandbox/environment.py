"""The toolchains that the sandbox mounts, and the environment of its commands.

The system's `/usr` is always mounted. Of other places (a home directory, `/opt`) the sandbox mounts the interpreter
that Baton runs on, without packages (`workspaces.sandbox.engine_python`), and the grants of `workspaces.sandbox.binds`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from baton.settings.bind_paths import find_own_home, refuse_bind
from workspaces.sandbox import engine_python
from workspaces.sandbox.binds import Bind

SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

HOME_INSIDE = "/home/agent"


@dataclass(frozen=True)
class Toolchains:
    """Directories outside `/usr` that are mounted read-only at their own path."""

    directories: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about directories that were left out, with the reason."""
    hidden: tuple[Path, ...] = ()
    """Directories of packages of Baton and its interpreter; covered wherever a mount would show them."""
    tools: Path | None = None
    """The directory of `workspaces.sandbox.engine_python` on this machine; None if commands run without it."""
    binds: tuple[Bind, ...] = ()
    """Directories that `baton.toml` requests and a person allows; their `bin` is searched first."""

    @property
    def search_path(self) -> str:
        """The search path for programs inside the sandbox."""
        return self.path_with(engine_python.INSIDE)

    def path_with(self, tools: str) -> str:
        """Return the search path for programs, with the engine's own directory at the path `tools`."""
        binds = [str(bind.target / "bin") for bind in self.binds]
        first, last = ([f"{tools}/{name}"] for name in (engine_python.FIRST, engine_python.LAST))
        if not self.tools:
            return ":".join([*binds, *SYSTEM_PATH])
        if any(path.is_relative_to("/usr") for path in self.hidden):
            # Programs of hidden packages still exist and cannot work, such as a `pytest` in /usr/local/bin.
            return ":".join([*binds, *first, *last, *SYSTEM_PATH])
        return ":".join([*binds, *first, *SYSTEM_PATH, *last])

    @property
    def has_python(self) -> bool:
        """Whether commands can see the interpreter that Baton runs on."""
        python = engine_python.base_executable()
        return any(python.is_relative_to(place) for place in (Path("/usr"), *self.directories))

    def covered_places(self) -> list[Path]:
        """Return the directories of packages that an empty mount must cover; paths as they are in the sandbox."""
        shown = [Path("/usr"), *self.directories, *(bind.target for bind in self.binds)]
        places = []
        for directory in shown:
            target = directory.resolve()
            for hidden in self.hidden:
                if hidden.is_relative_to(target) and hidden != target and hidden.is_dir():
                    places.append(directory / hidden.relative_to(target))
        # A directory inside a covered one is covered already.
        return [
            place
            for place in dict.fromkeys(places)
            if not any(place != other and place.is_relative_to(other) for other in places)
        ]


def own_toolchains(*, home: Path | None = None) -> Toolchains:
    """Return the toolchain of Baton's own interpreter, so that `python` and `pytest` work on a fresh machine."""
    found: list[Path] = []
    notes: list[str] = []
    for prefix in engine_python.base_prefixes():
        fault = refuse_bind(str(prefix), names=False) or _refuse_on_disk(prefix, home)
        if fault:
            notes.append(f"The interpreter under {prefix} is not visible in the sandbox: it {fault}.")
        else:
            found += _with_target(prefix)
    hidden = engine_python.own_packages()
    # Programs of the system may need these.
    notes += [
        f"The packages in {path} are hidden from commands, for Baton itself runs on them; install it into a virtual"
        " environment of its own to have them seen."
        for path in hidden
        if path.is_relative_to("/usr")
    ]
    return Toolchains(tuple(dict.fromkeys(found)), tuple(notes), tuple(hidden))


def _refuse_on_disk(directory: Path, home: Path | None) -> str | None:
    """Return the fault of a directory by its link target, and if it holds homes or Baton's data; None if none."""
    target = directory.resolve()
    if fault := refuse_bind(str(target), names=False):
        return fault
    users = find_own_home()
    if users is not None and users.is_relative_to(target):
        return "holds a home directory"
    if home is not None and (home.resolve().is_relative_to(target) or target.is_relative_to(home.resolve())):
        return "holds Baton's own data"
    return None


def _with_target(directory: Path) -> Iterable[Path]:
    """Return a directory under its own name and, if that is a link, under its target's name too."""
    return dict.fromkeys([directory, directory.resolve()])


def command_environment(
    toolchains: Toolchains,
    *,
    network: bool,
    home: str = HOME_INSIDE,
    tmp: str = "/tmp",  # noqa: S108 - the sandbox's own /tmp
    tools: str = engine_python.INSIDE,
) -> dict[str, str]:
    """Return the complete environment of a command, made of constants: it holds no variable of this process."""
    names = {
        "PATH": toolchains.path_with(tools),
        "HOME": home,
        "TMPDIR": tmp,
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        # Test runners that would watch for changes or ask questions do neither under CI.
        "CI": "1",
        # A cached .pyc counts as fresh if size and mtime (in seconds) match. Two checkpoints restored within one second
        # can match with different contents, which gives a verdict on the wrong code. So none are written.
        # https://docs.python.org/3/reference/import.html#cached-bytecode-invalidation
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "npm_config_update_notifier": "false",
        "npm_config_fund": "false",
        "npm_config_audit": "false",
    }
    if not network:
        # Without a network every retry only delays the same failure by minutes.
        names |= {
            "PIP_RETRIES": "0",
            "PIP_DEFAULT_TIMEOUT": "5",
            "UV_OFFLINE": "1",
            "npm_config_fetch_retries": "0",
            "YARN_HTTP_RETRY": "0",
            "CARGO_NET_RETRY": "0",
            "GOPROXY": "off",
            "BUNDLE_RETRY": "0",
        }
    return names
