"""Three mail programs that send a message through privyseal: Python's smtplib, curl and swaks.

Each function sends `message` (CRLF line ends) from Alice and raises AssertionError with what the program said if it did
not succeed.
"""
import os
import re
import subprocess

from harness import ALICE

LIMIT_S = 120


def with_smtplib(proxy, message, recipients, tls=False):
    with proxy.client(tls=tls) as client:
        if client.sendmail(ALICE, recipients, message) != {}:
            raise AssertionError("smtplib: a recipient was refused")


def _file(proxy, message):
    path = os.path.join(proxy.folder, "outgoing")
    with open(path, "wb") as file:
        file.write(message)
    return path


def _run(command):
    done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
    if done.returncode != 0:
        said = (done.stdout[-2000:] + done.stderr[-2000:]).decode(errors="replace")
        raise AssertionError("%s ended with %d: %s" % (command[0], done.returncode, said))


def with_curl(proxy, message, recipients, tls=False):
    command = ["curl", "--silent", "--show-error", "--url", "smtp://127.0.0.1:%d/client.example" % proxy.port,
               "--user", "alice:secret", "--mail-from", ALICE, "--upload-file", _file(proxy, message)]
    for recipient in recipients:
        command += ["--mail-rcpt", recipient]
    if tls:
        command += ["--ssl-reqd", "--cacert", proxy.certificate()]
    _run(command)


def with_swaks(proxy, message, recipients, tls=False):
    """swaks sends its data as it is given: with dots stuffed and the end."""
    data = re.sub(rb"(?m)^\.", b"..", message) + b".\r\n"
    command = ["swaks", "--silent", "2", "--server", "127.0.0.1:%d" % proxy.port, "--helo", "client.example",
               "--from", ALICE,
               "--to", ",".join(recipients), "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "secret",
               "--no-data-fixup", "--data", "@" + _file(proxy, data)]
    if tls:
        command += ["--tls", "--tls-verify", "--tls-ca-path", proxy.certificate()]
    _run(command)


ALL = {"smtplib": with_smtplib, "curl": with_curl, "swaks": with_swaks}
