"""Have programs.py run a program with the arguments, folder, variables and streams of this process.

python -IS tests/run_program.py SOCKET PROGRAM ARGUMENT...
"""

import os
import socket
import sys

NUMBER = 8  # bytes of the length of a request, and of an exit status

if __name__ == "__main__":
    _, address, *words = sys.argv
    variables = (f"{name}={value}" for name, value in os.environ.items())
    folder = os.getcwd()  # noqa: PTH109 pathlib would take longer than all of this
    request = "\0".join([str(len(words)), *words, folder, *variables]).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [len(request).to_bytes(NUMBER)], [0, 1, 2])
        server.sendall(request)
        sys.exit(int.from_bytes(server.recv(NUMBER) or b"\1"))
