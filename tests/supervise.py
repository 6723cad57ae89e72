#!/usr/bin/python3
"""Runs one program and makes sure that nothing of it stays behind.

Usage: supervise.py SECONDS REPORT PROGRAM [ARGUMENT...]
Every process that the program starts, also one that has left its parent, its session and its environment behind, ends
up as a descendant of this process, which is their subreaper. What is still there when the program has ended, and does
not go in a few seconds, is killed and named in the file REPORT, as is a program that exceeds its time. Exits as the
program did.
"""
import ctypes
import os
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 5
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Ended(Exception):
    """This process was asked to end."""


class Late(Exception):
    """The program's time is over."""


def parents():
    """The parent of each process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as stat:
                    # The name before it may have blanks and brackets in it.
                    found[int(name)] = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                pass
    return found


def descendants():
    parent_of = parents()
    found = []
    for pid in parent_of:
        above = pid
        while above in parent_of and above != os.getpid():
            above = parent_of[above]
        if above == os.getpid() and pid != os.getpid():
            found.append(pid)
    return found


def reap():
    """Takes the exit states of those that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def wait(program, seconds):
    """The program's exit state. Orphans that end meanwhile are waited for, as init would: a program may look whether
    what it has ended is gone."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    while True:
        pid = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT).si_pid
        if pid == program.pid:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return program.wait()
        os.waitpid(pid, 0)


def command(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip() or "?"
    except OSError:
        return "?"


def kill_all():
    """Until none is left: one that is being killed may have just started another."""
    for _ in range(100):
        left = descendants()
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
        reap()


def leftovers():
    """Commands of the processes that are still there after the grace."""
    until = time.monotonic() + GRACE_SECONDS
    while True:
        reap()
        left = descendants()
        if not left or time.monotonic() > until:
            return ["process %d: %s" % (pid, command(pid)) for pid in left]
        time.sleep(0.05)


def end(_signal, _frame):
    raise Ended


def expire(_signal, _frame):
    raise Late


def main():
    seconds, report, argv = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    signal.signal(signal.SIGALRM, expire)
    status, problems = 1, []
    try:
        program = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            status = wait(program, seconds)
            problems = ["left behind: " + line for line in leftovers()]
        except Late:
            problems = ["time limit of %g s exceeded" % seconds]
    except OSError as error:
        problems = ["cannot be run: %s" % error]
    except Ended:
        problems = ["ended from outside"]
    finally:
        kill_all()
    with open(report, "w", encoding="utf-8") as file:
        file.write("".join(problem + "\n" for problem in problems))
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
