"""The same mail through privyseal to Postfix: a private instance that delivers to maildirs and reaches no network.

Postfix asks a small server of ours for logins, in Dovecot's protocol. Its privileged parts need root; otherwise the
tests are skipped.
"""
import base64
import os
import pwd
import secrets
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import clients  # noqa: E402
import corpus  # noqa: E402
import harness  # noqa: E402
from harness import ALICE, BOB, CAROL, DAVE, World, wait_for  # noqa: E402

POSTFIX, MASTER = "/usr/sbin/postfix", "/usr/lib/postfix/sbin/master"
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/log/postfix
maillog_file_prefixes = {folder}
myhostname = postfix.example
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
default_transport = error:nothing leaves this machine
relay_transport = error:nothing leaves this machine
local_transport = error:nothing leaves this machine
virtual_transport = virtual
virtual_mailbox_domains = example.net, example.com, example.edu
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {bob}=bob/, {carol}=carol/, {dave}=dave/ }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
message_size_limit = 60000000
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = unix:{folder}/auth/socket
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_client_connection_count_limit = 0
"""
SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class AuthSession(socketserver.StreamRequestHandler):
    """Dovecot's authentication protocol, as far as PLAIN and LOGIN need it."""

    def say(self, *words):
        self.wfile.write("\t".join(words).encode() + b"\n")

    def judge(self, number, is_good):
        self.server.logins.append(is_good)
        self.say("OK" if is_good else "FAIL", number, "user=alice")

    def handle(self):
        for words in (("VERSION", "1", "1"), ("MECH", "PLAIN", "plaintext"), ("MECH", "LOGIN", "plaintext"),
                      ("SPID", str(os.getpid())), ("CUID", "1"), ("COOKIE", secrets.token_hex(16)), ("DONE",)):
            self.say(*words)
        names = {}
        for line in self.rfile:
            words = line.decode().rstrip("\n").split("\t")
            if words[0] == "AUTH":
                response = next((base64.b64decode(word[5:]) for word in words if word.startswith("resp=")), None)
                if words[2] == "PLAIN" and response is not None:
                    self.judge(words[1], response == b"\0alice\0secret")
                else:
                    names[words[1]] = None if words[2] == "LOGIN" else b""
                    self.say("CONT", words[1], base64.b64encode(b"Username:" if words[2] == "LOGIN" else b"").decode())
            elif words[0] == "CONT":
                response = base64.b64decode(words[2])
                if names[words[1]] is None:
                    names[words[1]] = response
                    self.say("CONT", words[1], base64.b64encode(b"Password:").decode())
                elif names[words[1]] == b"":
                    self.judge(words[1], response == b"\0alice\0secret")
                else:
                    self.judge(words[1], (names[words[1]], response) == (b"alice", b"secret"))


class AuthServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path):
        super().__init__(path, AuthSession)
        self.logins = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postfix:
    """A private Postfix; everything of it lies in one folder of the world."""

    def __init__(self, world):
        self.folder = os.path.join(world.folder, "pf")
        self.certificate, key = world.certificate()
        owner = pwd.getpwnam("nobody")
        # Postfix's own users must come to its queue; what is secret here lies in folders of their own.
        os.chmod(world.folder, 0o711)
        for name in ("", "etc", "spool", "data", "log", "mail", "auth"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        shutil.chown(os.path.join(self.folder, "data"), "postfix")
        os.chown(os.path.join(self.folder, "mail"), owner.pw_uid, owner.pw_gid)
        self.auth = AuthServer(os.path.join(self.folder, "auth", "socket"))
        os.chmod(os.path.join(self.folder, "auth", "socket"), 0o666)
        world.add(self.close_auth)
        self.port = free_port()
        values = {"folder": self.folder, "port": self.port, "certificate": self.certificate, "key": key,
                  "uid": owner.pw_uid, "gid": owner.pw_gid, "bob": BOB, "carol": CAROL, "dave": DAVE}
        for name, text in (("main.cf", MAIN), ("master.cf", SERVICES)):
            with open(os.path.join(self.folder, "etc", name), "w", encoding="utf-8") as file:
                file.write(text.format(**values))
        done = subprocess.run([POSTFIX, "-c", os.path.join(self.folder, "etc"), "check"], capture_output=True,
                              check=False)
        if done.returncode != 0:
            raise AssertionError("postfix check: %s" % done.stderr.decode(errors="replace"))
        self.process = subprocess.Popen([MASTER, "-c", os.path.join(self.folder, "etc"), "-d"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        world.add(self.close)
        wait_for(self.is_up, "Postfix")

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError("Postfix ended:\n" + self.log())
        try:
            harness.Raw(self.port).close()
        except OSError:
            return False
        return True

    def url(self):
        return "smtp://localhost:%d" % self.port

    def log(self):
        path = os.path.join(self.folder, "log", "postfix")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def mail(self, name):
        """What lies in a mailbox, with CRLF line ends, in the order of arrival."""
        folder = os.path.join(self.folder, "mail", name, "new")
        if not os.path.isdir(folder):
            return []
        paths = sorted((os.path.join(folder, file) for file in os.listdir(folder)),
                       key=lambda path: os.stat(path).st_mtime_ns)
        result = []
        for path in paths:
            with open(path, "rb") as file:
                result.append(file.read().replace(b"\n", b"\r\n"))
        return result

    def wait_for_mail(self, name, count):
        wait_for(lambda: len(self.mail(name)) >= count, "delivery to " + name)
        mail = self.mail(name)
        if len(mail) != count:
            raise AssertionError("%d messages instead of %d" % (len(mail), count))
        return mail[-1]

    def spooled(self):
        """Every byte in Postfix's hands: queue, mailboxes and log."""
        for folder, _, files in os.walk(self.folder):
            for name in files:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        yield path, file.read()

    def close_auth(self):
        self.auth.shutdown()
        self.auth.server_close()

    def close(self):
        family = harness.descendants(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in family:
            try:
                wait_for(lambda pid=pid: not os.path.exists("/proc/%d" % pid), "the end of a Postfix process", 5)
            except AssertionError:
                os.kill(pid, signal.SIGKILL)


@unittest.skipUnless(os.getuid() == 0, "a private Postfix needs root")
@unittest.skipUnless(os.path.exists(MASTER), "Postfix is not installed")
class ToPostfix(World):
    def begin(self, rules=harness.TRUSTING):
        self.postfix = Postfix(self)
        self.proxy = harness.Proxy(self, self.postfix, rules=rules)

    def check_corpus(self, client, tls, without=()):
        self.begin()
        count = 0
        for kind, message in corpus.all_messages():
            if kind in without:
                continue
            with self.subTest(kind=kind):
                client(self.proxy, message, [BOB], tls=tls)
                count += 1
                corpus.check_sealed(self, message, self.postfix.wait_for_mail("bob", count))
        self.assertEqual(count, len(corpus.KINDS) - len(without))
        for path, content in self.postfix.spooled():
            self.assertNotIn(corpus.CANARY, content, path)
        self.assertTrue(all(self.postfix.auth.logins))

    def test_smtplib(self):
        self.check_corpus(clients.with_smtplib, tls=False)

    def test_curl(self):
        self.check_corpus(clients.with_curl, tls=True, without=("big",))

    def test_swaks(self):
        self.check_corpus(clients.with_swaks, tls=True, without=("big",))

    def test_signed_only(self):
        self.begin(rules='rule "all" { encrypt = never  sign = always }')
        count = 0
        for kind, message in corpus.all_messages():
            if kind == "big":
                continue
            with self.subTest(kind=kind):
                clients.with_smtplib(self.proxy, message, [DAVE])
                count += 1
                corpus.check_signed(self, message, self.postfix.wait_for_mail("dave", count), self.folder)

    def test_three_copies(self):
        """One sealed for whom the message names, one for whom it does not, and a signed one where there is no key."""
        self.begin()
        message = corpus.lines("From: Alice <%s>\nTo: %s, %s\nBcc: %s\nSubject: three\nMessage-ID: <3@example.org>\n"
                               "Date: Fri, 20 Nov 2026 12:00:00 +0000\n\nfor three\n" % (ALICE, BOB, DAVE, CAROL))
        clients.with_smtplib(self.proxy, message, [BOB, CAROL, DAVE])
        sealed = [corpus.check_sealed(self, message, self.postfix.wait_for_mail(name, 1)) for name in ("bob", "carol")]
        signed = corpus.check_signed(self, message, self.postfix.wait_for_mail("dave", 1), self.folder)
        for opened in sealed + [signed]:
            self.assertIsNone(opened.outer["Bcc"])
            self.assertNotIn(CAROL.encode(), opened.plain)

    def test_wrong_password(self):
        self.begin()
        with harness.Raw(self.proxy.port) as raw:
            raw.command("EHLO x")
            self.assertEqual(raw.command("AUTH PLAIN " + base64.b64encode(b"\0alice\0wrong").decode())[0], 535)
            raw.login()
        self.assertEqual(self.postfix.auth.logins, [False, True])

    def test_unknown_recipient(self):
        """Postfix's refusal of a recipient comes through."""
        self.begin()
        with self.proxy.client() as client:
            client.mail(ALICE)
            code, text = client.rcpt("nobody@example.net")
            self.assertEqual(code, 550)
            self.assertIn(b"5.1.1", text)
            self.assertEqual(client.rcpt(BOB)[0], 250)
            self.assertEqual(client.data(corpus.text())[0], 250)
        self.postfix.wait_for_mail("bob", 1)


if __name__ == "__main__":
    unittest.main()
