"""The inner end of an open network: forwards a port of the sandbox's loopback to the Unix socket of the proxy.

`python -I -S forwarder.py SOCKET PORT COMMAND...` listens, starts a process that forwards, and executes COMMAND. Any
Python that the sandbox shows runs it, so it imports the standard library only. The proxy outside decides.
"""

import contextlib
import os
import socket
import sys
import threading


def forward_connections(listener: socket.socket, path: str) -> None:
    """Forward each connection to the Unix socket, until the sandbox ends."""
    while True:
        client, _address = listener.accept()
        threading.Thread(target=carry_connection, args=(client, path), daemon=True).start()


def carry_connection(client: socket.socket, path: str) -> None:
    """Forward one connection in both directions."""
    with client, socket.socket(socket.AF_UNIX) as proxy:
        try:
            proxy.connect(path)
        except OSError:
            return
        back = threading.Thread(target=copy_stream, args=(proxy, client), daemon=True)
        back.start()
        copy_stream(client, proxy)
        back.join()


def copy_stream(source: socket.socket, sink: socket.socket) -> None:
    """Copy one direction of a connection to its end."""
    try:
        while piece := source.recv(65_536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One side is closed: shut down both, so that readers and writers of either notice.
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def leave_behind(listener: socket.socket, path: str) -> None:
    """Forward in a process without a parent here, so that no program waits for it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    empty = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(empty, descriptor)
    try:
        forward_connections(listener, path)
    finally:
        os._exit(1)


def main(arguments: "list[str]") -> None:
    """Listen, start the forwarding process, and execute the command."""
    path, port, *command = arguments
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen(128)
    leave_behind(listener, path)
    listener.close()
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is what this is for
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(126 if isinstance(error, PermissionError) else 127)


if __name__ == "__main__":
    main(sys.argv[1:])
