"""A program on a terminal of a given size: what it shows, with the answers that it is given when it asks."""
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

QUESTION, HIDDEN = re.compile(rb"(\[yes/no\] |: )$"), re.compile(rb": $")


def is_shown(terminal):
    """What is typed; secrets are not."""
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def run(argv, columns=80, answers=(), environment=None, question=QUESTION, on_shown=None):
    """on_shown gets all that was shown so far. (What was shown, with lines that end in LF; exit status)."""
    pid, terminal = pty.fork()
    if pid == 0:
        # The parent sets the size before it lets go.
        os.read(0, 1)
        os.execve(argv[0], argv, {**os.environ, "TERM": "xterm", **(environment or {})})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.write(terminal, b"\n")
    said, asked, todo = b"", 0, list(answers)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        text = said[asked:]
        if todo and question.search(text) and not (HIDDEN.search(text) and is_shown(terminal)):
            asked = len(said)
            os.write(terminal, todo.pop(0).encode() + b"\n")
        if not select.select([terminal], [], [], 0.05)[0]:
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        said += piece
        if on_shown:
            on_shown(said)
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if todo:
        raise AssertionError("%s: not asked for %s\n%s" % (argv, todo, said.decode()))
    return re.sub(rb"^\r*\n", b"", said).decode().replace("\r\n", "\n"), status
