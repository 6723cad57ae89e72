"""A private Dovecot: IMAP on loopback over a temporary folder of mail, as root or as anybody.

    with Dovecot(users=("alice", "bob")) as server:
        server.deliver("alice", "INBOX", [message, ...])
        client = server.client("alice")

The listening socket is made here and handed over as systemd does, so that no other program can take the port in
between. Everything that Dovecot starts ends with it.
"""
import base64
import ctypes
import grp
import imaplib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

PROGRAM = "/usr/sbin/dovecot"
# As root Dovecot insists on other users: one for mail, its own for the rest.
MAIL_USER = "mail"
PR_SET_PDEATHSIG = 1
END_S = 20
START_S = 30

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = {ssl}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = {location}
mail_fsync = never
mail_max_userip_connections = 100000
mail_uid = {mail_user}
mail_gid = {mail_group}
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/users
}}
userdb {{
  driver = static
  args = uid={mail_user} gid={mail_group} home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  mailbox Drafts {{
    special_use = \\Drafts
  }}
  mailbox Sent {{
    special_use = \\Sent
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
  service_count = 0
  process_min_avail = 1
  client_limit = 4000
}}
service imap {{
  process_limit = 4000
}}
service anvil {{
  client_limit = 10000
}}
{unprivileged}
{options}
"""
UNPRIVILEGED = """
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
}}
service stats {{
  chroot =
}}
"""
# Where mail lies, below the user's home.
LOCATIONS = {
    "maildir": "maildir:~/Maildir",
    "mbox": "mbox:~/mbox:INBOX=~/inbox",
    "sdbox": "sdbox:~/sdbox",
    "memory": "maildir:~/Maildir:INDEX=MEMORY",
}


def is_there():
    """True if Dovecot is installed, with IMAP."""
    return os.path.exists(PROGRAM) and os.path.exists("/usr/lib/dovecot/imap")


class Dovecot:
    """`kind` is one of LOCATIONS; `certificate` a pair of files, with which port `tls_port` and STARTTLS are there too;
    `options` more of dovecot.conf. The mail program's view: `port`, `tls_port`, and `url`."""

    def __init__(self, users=("alice",), password="secret", kind="maildir", certificate=None, options="",
                 separator="."):
        # Not below a test's own folder, which other users may not enter.
        self.folder = tempfile.mkdtemp(prefix="pd")
        os.chmod(self.folder, 0o755)
        self.users, self.password, self.kind, self.process = tuple(users), password, kind, None
        self.separator, self.count, self.certificate = separator, 0, certificate
        user = pwd.getpwnam(MAIL_USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.owner = user.pw_uid, user.pw_gid
        sockets = [listening() for _ in range(2 if certificate else 1)]
        self.port = sockets[0].getsockname()[1]
        self.tls_port = sockets[1].getsockname()[1] if certificate else 0
        try:
            self._write_config(user, options)
            self._start(sockets)
        except BaseException:
            self.close()
            raise
        finally:
            for listener in sockets:
                listener.close()

    def _write_config(self, user, options):
        group = grp.getgrgid(user.pw_gid).gr_name
        tls = ""
        if self.certificate:
            tls = "ssl_cert = <%s\nssl_key = <%s\n" % tuple(self.certificate)
        for name in self.users:
            home = os.path.join(self.folder, "mail", name)
            os.makedirs(home)
            self._own(os.path.dirname(home))
            self._own(home)
        with open(os.path.join(self.folder, "users"), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.writelines("%s:%s\n" % (name, self.password) for name in self.users)
        unprivileged = UNPRIVILEGED.format(user=user.pw_name, group=group) if os.geteuid() != 0 else ""
        with open(os.path.join(self.folder, "dovecot.conf"), "w", encoding="utf-8") as file:
            file.write(CONFIG.format(
                folder=self.folder, ssl="yes" if self.certificate else "no", location=LOCATIONS[self.kind],
                mail_user=user.pw_name, mail_group=group, separator=self.separator, port=self.port,
                tls_port=self.tls_port, unprivileged=unprivileged, options=tls + options))

    def _own(self, path):
        if os.geteuid() == 0:
            os.chown(path, *self.owner)

    def _start(self, sockets):
        """Hands the sockets over as file descriptors 3 and on (sd_listen_fds)."""
        handed = [os.dup(listener.fileno()) for listener in sockets]
        # Also ends with a test program that is killed. It is the thread that counts, so only the first may ask for it.
        is_main, libc = threading.current_thread() is threading.main_thread(), ctypes.CDLL(None)

        def place():
            # Two steps, so that none is overwritten before it is placed.
            high = [os.dup2(fd, 200 + index) for index, fd in enumerate(handed)]
            for index, fd in enumerate(high):
                os.dup2(fd, 3 + index)
                os.close(fd)
            if is_main:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        script = 'LISTEN_PID=$$ LISTEN_FDS=%d exec "$0" -F -c "$1"' % len(handed)
        with open(os.path.join(self.folder, "output"), "wb") as output:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", script, PROGRAM, os.path.join(self.folder, "dovecot.conf")], preexec_fn=place,
                close_fds=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        for fd in handed:
            os.close(fd)
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.client().logout()
                return
            except (OSError, imaplib.IMAP4.error):
                time.sleep(0.05)
        raise AssertionError("Dovecot did not start:\n" + self.log())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def url(self, scheme="imap+clear"):
        if scheme == "imap+clear":
            return "imap+clear://127.0.0.1:%d" % self.port
        return "%s://localhost:%d" % (scheme, self.tls_port if scheme == "imaps" else self.port)

    def log(self):
        text = ""
        for name in ("output", "log"):
            try:
                with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
                    text += file.read()
            except FileNotFoundError:
                pass
        return text

    def client(self, user=None, timeout=60):
        """A session of imaplib's, logged in."""
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=timeout)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            client.login(user or self.users[0], self.password)
        except BaseException:
            client.shutdown()
            raise
        return client

    def talk(self, user=None):
        """A session that gives what the server says byte for byte."""
        return Talk(self.port, user or self.users[0], self.password)

    def maildir(self, user, mailbox="INBOX"):
        root = os.path.join(self.folder, "mail", user, "Maildir")
        return root if mailbox == "INBOX" else os.path.join(root, "." + mailbox)

    def deliver(self, user, mailbox, messages, flags=""):
        """Puts messages into a Maildir mailbox as files, in this order, byte for byte; a new mailbox is made. `flags`
        are Maildir's letters: "S" is seen, and so on. Dovecot finds them when it next looks."""
        folder = self.maildir(user, mailbox)
        made = [os.path.join(folder, name) for name in ("", "tmp", "new", "cur")]
        above = self.maildir(user)
        for path in [above] + made:
            if not os.path.isdir(path):
                os.makedirs(path, 0o700)
                self._own(path)
        for message in messages:
            self.count += 1
            # Sorted by name, which begins with the seconds: INTERNALDATE is the file's time.
            name = "%d.M%06dP1.privyseal:2,%s" % (1790000000 + self.count, self.count, flags)
            path = os.path.join(folder, "tmp", name)
            with open(path, "wb") as file:
                file.write(message)
            os.utime(path, (1790000000 + self.count,) * 2)
            self._own(path)
            os.rename(path, os.path.join(folder, "cur", name))

    def close(self):
        """Ends it and all that it started, and removes the folder."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self._wait_for_group()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_for_group(self):
        """The master does not wait for all of its children; they are in its process group."""
        end = time.monotonic() + END_S
        while time.monotonic() < end:
            try:
                os.killpg(self.process.pid, 0 if time.monotonic() < end - END_S / 2 else signal.SIGKILL)
            except ProcessLookupError:
                return
            time.sleep(0.01)


class Talk:
    """Commands and whole answers as bytes, for comparing servers."""

    def __init__(self, port, user, password, host="127.0.0.1", timeout=60):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.number = 0
        self.greeting = self.response()
        self.command(b"LOGIN %s %s" % (user.encode(), password.encode()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def response(self):
        """One response: a line with the literals in it."""
        whole = b""
        while True:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise EOFError("the server has gone after %r" % (whole + line)[-200:])
            whole += line
            if not line.endswith(b"}\r\n") or b"{" not in line:
                return whole
            size = line[line.rindex(b"{") + 1:-3].rstrip(b"+")
            if not size.isdigit():
                return whole
            whole += self.file.read(int(size))

    def command(self, text, check=True):
        """Sends "tag text", the text with literals {n+} in it where wanted; gives (untagged responses, tagged text)."""
        self.number += 1
        tag = b"t%d " % self.number
        self.socket.sendall(tag + text + b"\r\n")
        untagged = []
        while True:
            response = self.response()
            if response.startswith(tag):
                tagged = response[len(tag):-2]
                if check and not tagged.startswith(b"OK"):
                    raise AssertionError("%r: %r" % (text[:200], tagged))
                return untagged, tagged
            untagged.append(response)

    def append(self, mailbox, message, flags=b"()"):
        return self.command(b"APPEND %s %s {%d+}\r\n%s" % (mailbox.encode(), flags, len(message), message))[1]


def listening():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def login_plain(user, password):
    """An initial response for AUTHENTICATE PLAIN."""
    return base64.b64encode(b"\0%s\0%s" % (user.encode(), password.encode()))


class DovecotTest(unittest.TestCase):
    """A test case that needs Dovecot, and is skipped where it is not installed."""

    @classmethod
    def setUpClass(cls):
        if not is_there():
            raise unittest.SkipTest("Dovecot is not installed")
