"""What end-to-end tests share: temporary worlds with keys, a reference server and privyseal in them.

Everything lives below one short temporary directory (gpg's sockets have a limit of 107 bytes), listens on loopback at
ports that the kernel chooses, and is gone when the world is closed, processes included.
"""
import base64
import imaplib
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

PRIVYSEAL = os.environ.get("PRIVYSEAL", "build/privyseal")
SMTPD = os.environ.get("SMTPD", "build/tests/smtpd")
ALICE = "alice@example.org"
BOB = "bob@example.net"
CAROL = "carol@example.com"
DAVE = "dave@example.edu"
START_S = 60


def wait_for(condition, what, seconds=30):
    """Polls until `condition` gives something true, and gives that back."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError("waited %d s for %s" % (seconds, what))


def numbers_of(pid):
    """What the kernel says of a process after its name; None if it has gone meanwhile."""
    try:
        with open("/proc/%s/stat" % pid, encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def parent_of(pid):
    """0 if the process has gone."""
    numbers = numbers_of(pid)
    return int(numbers[1]) if numbers else 0


def started_at(pid):
    """When it was started, in clock ticks since the machine was."""
    numbers = numbers_of(pid)
    return int(numbers[19]) if numbers else 0, pid


def descendants(pid):
    """Process ids of all that `pid` has started, and theirs; also what has left its parent but not its parent's group,
    as the gpg that GPGME starts."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent, group = parent_of(name), os.getpgid(int(name))
            except (OSError, IndexError):
                continue
            for above in {parent, group} - {int(name)}:
                children.setdefault(above, []).append(int(name))
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found:
                found.append(child)
                todo.append(child)
    return found


def command_of(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


class Gpg:
    """A throw-away GnuPG home, used with plain gpg."""

    def __init__(self, home):
        self.home = home
        os.makedirs(home, 0o700, exist_ok=True)

    def run(self, *arguments, data=None, check=True):
        done = subprocess.run(["gpg", "--homedir", self.home, "--batch", "--no-tty", "--quiet", "--status-fd", "2",
                               *arguments], input=data, capture_output=True, check=False)
        if check and done.returncode != 0:
            raise AssertionError("gpg %s: %s" % (arguments, done.stderr.decode(errors="replace")))
        return done

    def make(self, address, algorithm="ed25519", at=None, life="0"):
        """A key for signing and one for encryption; `at` is when they are made, `life` how long they last."""
        options = ["--passphrase", "", "--pinentry-mode", "loopback"]
        options += ["--faked-system-time", at + "!"] if at else []
        self.run(*options, "--quick-gen-key", "<%s>" % address, algorithm, "default", life)
        fingerprint = self.fingerprint(address)
        self.run(*options, "--quick-add-key", fingerprint, "cv25519" if algorithm == "ed25519" else algorithm, "encr",
                 life)
        return fingerprint

    def revocation(self, fingerprint):
        """The certificate that gpg makes with every key."""
        with open(os.path.join(self.home, "openpgp-revocs.d", fingerprint + ".rev"), "rb") as file:
            return file.read().replace(b":-----BEGIN", b"-----BEGIN")

    def fingerprint(self, address):
        listing = self.run("--with-colons", "--list-keys", "<%s>" % address).stdout.decode()
        return re.search(r"^fpr:+([0-9A-F]+):", listing, re.M).group(1)

    def encryption_key_ids(self, address):
        listing = self.run("--with-colons", "--list-keys", "<%s>" % address).stdout.decode()
        return {row.split(":")[4] for row in listing.splitlines() if row.startswith(("sub:", "pub:"))}

    def export(self, address):
        return self.run("--armor", "--export", address).stdout

    def export_secret(self, address):
        return self.run("--passphrase", "", "--pinentry-mode", "loopback", "--armor", "--export-secret-keys",
                        address).stdout

    def take(self, data, own=False):
        self.run("--import", data=data)
        if own:
            listing = self.run("--with-colons", "--list-secret-keys").stdout.decode()
            trusted = re.findall(r"^sec:.*\nfpr:+([0-9A-F]+):", listing, re.M)
            self.run("--import-ownertrust", data="".join(each + ":6:\n" for each in trusted).encode())

    def decrypt(self, data):
        """The plain text, and the status lines."""
        done = self.run("--decrypt", data=data)
        return done.stdout, done.stderr.decode(errors="replace")

    def key_ids_of(self, data):
        """Key IDs a message is encrypted to, without decrypting it."""
        done = self.run("--list-only", "--decrypt", data=data, check=False)
        return set(re.findall(r"ENC_TO ([0-9A-F]+)", done.stderr.decode(errors="replace")))

    def verify(self, signature, content, folder):
        path = os.path.join(folder, "signature.asc")
        with open(path, "wb") as file:
            file.write(signature)
        return self.run("--verify", path, "-", data=content).stderr.decode(errors="replace")

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], capture_output=True, check=False)


_KEYS = {}


def keys():
    """One home with the secret keys of all persons, made once for a test program."""
    if not _KEYS:
        folder = tempfile.mkdtemp(prefix="pv")
        gpg = Gpg(os.path.join(folder, "k"))
        for address in (ALICE, BOB, CAROL, DAVE):
            gpg.make(address)
        _KEYS["folder"], _KEYS["gpg"] = folder, gpg
        unittest.addModuleCleanup(close_keys)
    return _KEYS["gpg"]


def close_keys():
    if _KEYS:
        _KEYS["gpg"].close()
        shutil.rmtree(_KEYS["folder"], ignore_errors=True)
        _KEYS.clear()


class RefServer:
    """The reference SMTP server, with the mail that it holds and the bytes that it received."""

    def __init__(self, world, name="s", tls="none", features=None, auth="PLAIN LOGIN", lenient=False, store=True,
                 wire=True, certificate=None):
        self.folder = os.path.join(world.folder, name)
        os.makedirs(self.folder)
        self.store, self.wire_file = os.path.join(self.folder, "mail"), os.path.join(self.folder, "wire")
        self.fault_file = os.path.join(self.folder, "faults")
        os.makedirs(self.store)
        command = [SMTPD, "--tls", tls, "--faults", self.fault_file]
        if store:
            command += ["--store", self.store]
        if wire:
            command += ["--wire", self.wire_file]
        if features is not None:
            command += ["--features", features]
        if auth:
            command += ["--auth", auth, "--user", "alice", "--password", "secret"]
        if tls != "none":
            self.certificate, key = certificate or world.certificate()
            command += ["--cert", self.certificate, "--key", key]
        if lenient:
            command.append("--lenient")
        self.tls = tls
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().split()[1])
        world.add(self.close)

    def url(self):
        scheme = {"none": "smtp+clear", "starttls": "smtp", "implicit": "smtps"}[self.tls]
        return "%s://%s:%d" % (scheme, "127.0.0.1" if self.tls == "none" else "localhost", self.port)

    def faults(self, *lines):
        """Orders faults; counts begin anew. No line: none."""
        path = self.fault_file + ".new"
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
        os.rename(path, self.fault_file)

    def wire(self):
        with open(self.wire_file, "rb") as file:
            return file.read()

    def mail(self):
        """(envelope, bytes) of every message accepted, in order."""
        numbers = sorted(int(name[:-4]) for name in os.listdir(self.store) if re.fullmatch(r"\d+\.eml", name))
        result = []
        for number in numbers:
            with open(os.path.join(self.store, "%d.json" % number), encoding="utf-8") as file:
                envelope = json.load(file)
            with open(os.path.join(self.store, "%d.eml" % number), "rb") as file:
                result.append((envelope, file.read()))
        return result

    def recipients(self):
        """Every delivery as an address, with repetitions."""
        return sorted(re.search(r"<([^>]*)>", word).group(1)
                      for envelope, _ in self.mail() for word in envelope["rcpt"])

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Proxy:
    """privyseal serve, with a configuration made of the pieces that a test cares about."""

    def __init__(self, world, upstream, rules="", options="", account="", listen=None, timeout_percent=100, start=True,
                 ca_file=None, imap=None):
        """`upstream` is the SMTP server, `imap` the IMAP server; either may be None. By default there is a listener for
        each."""
        self.world, self.process = world, None
        self.folder = os.path.join(world.folder, "p%d" % world.count())
        os.makedirs(self.folder)
        self.config = os.path.join(self.folder, "c.conf")
        self.state = os.path.join(self.folder, "st")
        self.log_file = os.path.join(self.folder, "log")
        servers = {name: server for name, server in (("smtp", upstream), ("imap", imap)) if server is not None}
        listen = listen or "\n".join('listen %s { at = "127.0.0.1:0" }' % name for name in servers)
        ca_file = ca_file or next((server.certificate for server in servers.values()
                                   if hasattr(server, "certificate")), None)
        lines = ['    %s = "%s"\n' % (name, server.url()) for name, server in servers.items()]
        lines += ['    ca_file = "%s"\n' % ca_file] if ca_file else []
        self.text = "\n".join([
            'state = "%s"' % self.state, 'log = debug', "timeout_percent = %d" % timeout_percent, options, listen,
            'account "%s" {\n    login = "alice"\n%s    gnupghome = "%s"\n%s\n}' % (
                ALICE, "".join(lines), world.alice().home, account),
            rules, ""])
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(self.text)
        world.add(self.close)
        if start:
            self.start()

    def start(self):
        log = open(self.log_file, "ab")
        self.process = subprocess.Popen([PRIVYSEAL, "serve", "--config", self.config], stdout=subprocess.PIPE,
                                        stderr=log, start_new_session=True)
        log.close()
        self.ports = []
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            line = self.process.stdout.readline().decode()
            if line == "ready\n":
                self.port, self.imap_port = self.ports[0], self.ports[-1]
                return
            if line == "":
                raise AssertionError("privyseal did not start:\n" + self.log())
            self.ports.append(int(line.rsplit(":", 1)[1]))
        raise AssertionError("privyseal did not get ready:\n" + self.log())

    def log(self):
        with open(self.log_file, encoding="utf-8", errors="replace") as file:
            return file.read()

    def children(self, word):
        """Process ids of descendants whose command holds `word`."""
        return [pid for pid in descendants(self.process.pid) if word in command_of(pid)]

    def workers(self):
        """The master's children that are copies of it, in the order of their start: vault, finder (if any), net."""
        return sorted((pid for pid in descendants(self.process.pid)
                       if command_of(pid) == command_of(self.process.pid) and parent_of(pid) == self.process.pid),
                      key=started_at)

    def keepers(self):
        return [pid for pid in descendants(self.process.pid) if command_of(pid) == "privyseal keeper"]

    def stop(self):
        """Ends it in order; nothing may be left behind."""
        if self.process is None:
            return
        family = descendants(self.process.pid)
        self.process.terminate()
        code = self.process.wait(60)
        self.process.stdout.close()
        self.process = None
        if code != 0:
            raise AssertionError("privyseal ended with %d:\n%s" % (code, self.log()))
        for pid in family:
            wait_for(lambda pid=pid: not os.path.exists("/proc/%d" % pid) or "zombie" in state_of(pid),
                     "the end of %s" % command_of(pid))
        for word in ("AddressSanitizer", "runtime error:", "LeakSanitizer"):
            if word in self.log():
                raise AssertionError("a sanitizer spoke:\n" + self.log())

    def kill(self):
        """Ends it as a power cut would: every process at once."""
        family = [self.process.pid] + descendants(self.process.pid)
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def close(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.stop()
        else:
            code = self.process.returncode
            self.process.stdout.close()
            self.process = None
            raise AssertionError("privyseal had ended with %d:\n%s" % (code, self.log()))

    def certificate(self):
        return os.path.join(self.state, "tls", "certificate.pem")

    def tls_context(self):
        return ssl.create_default_context(cafile=self.certificate())

    def imap(self, timeout=60):
        """An imaplib session, logged in."""
        return imap_client(self.imap_port, timeout)

    def client(self, login=True, tls=False, timeout=60):
        """An smtplib session."""
        client = smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example", timeout=timeout)
        try:
            if tls:
                client.starttls(context=self.tls_context())
            client.ehlo()
            if login:
                client.login("alice", "secret")
        except BaseException:
            client.close()
            raise
        return client

    def send(self, message, recipients, sender=ALICE, options=()):
        """Sends; raises what smtplib raises."""
        with self.client() as client:
            return client.sendmail(sender, recipients, message, mail_options=list(options))


def imap_client(port, timeout=60, context=None):
    """An imaplib session, logged in, after STARTTLS if there is a context. As a context manager it says LOGOUT at its
    end."""
    client = imaplib.IMAP4("127.0.0.1", port, timeout=timeout)
    # It sends a literal and its line end apart, and would wait for the first to be acknowledged.
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if context is not None:
            client.starttls(context)
        client.login("alice", "secret")
    except BaseException:
        client.shutdown()
        raise
    return client


def without_autocrypt(content):
    """A message as it was before privyseal put the one field there that tells the sender's key."""
    rest, count = re.subn(rb"^Autocrypt: addr=alice@example\.org; prefer-encrypt=mutual;\r\n(?:[ ].*\r\n)+", b"",
                          content, flags=re.M)
    if count != 1:
        raise AssertionError("%d Autocrypt fields" % count)
    return rest


def state_of(pid):
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return "zombie"


class Raw:
    """A client that sends what it is told, byte for byte."""

    def __init__(self, port, host="127.0.0.1", timeout=30, greeting=True):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        if greeting:
            self.greeting = self.reply()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """The next line without its end; b"" at the end of the connection."""
        while b"\r\n" not in self.input:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                line, self.input = self.input, b""
                return line
            self.input += more
        line, self.input = self.input.split(b"\r\n", 1)
        return line

    def reply(self):
        """(code, text) of one reply, lines joined by LF; (0, "") if the connection has ended."""
        texts = []
        while True:
            line = self.line()
            if not line:
                return 0, ""
            texts.append(line[4:].decode(errors="replace"))
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(texts)

    def command(self, text):
        self.send((text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        return self.reply()

    def replies_to_the_end(self):
        """Codes of all replies until the peer closes."""
        codes = []
        while True:
            code, _ = self.reply()
            if code == 0:
                return codes
            codes.append(code)

    def login(self):
        """EHLO and AUTH PLAIN as Alice; gives back what EHLO said."""
        code, offer = self.command("EHLO client.example")
        assert code == 250, (code, offer)
        code, text = self.command("AUTH PLAIN " + base64.b64encode(b"\0alice\0secret").decode())
        assert code == 235, (code, text)
        return offer.split("\n")[1:]

    def start_tls(self, context):
        code, text = self.command("STARTTLS")
        assert code == 220, (code, text)
        self.secure(context)

    def secure(self, context):
        self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")

    def begin(self, recipients, sender=ALICE, parameters=""):
        """MAIL, RCPT and DATA, up to the 354."""
        for text in ["MAIL FROM:<%s>%s" % (sender, parameters)] + ["RCPT TO:<%s>" % to for to in recipients]:
            code, answer = self.command(text)
            assert code == 250, (text, code, answer)
        code, answer = self.command("DATA")
        assert code == 354, (code, answer)

    def close(self):
        self.socket.close()


class World(unittest.TestCase):
    """A test case with a temporary world; subclasses make servers and proxies in it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="pv")
        self._closers, self._count, self._alice = [], 0, None
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.addCleanup(self._close)

    def _close(self):
        errors = []
        for closer in reversed(self._closers):
            try:
                closer()
            except AssertionError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def add(self, closer):
        self._closers.append(closer)

    def count(self):
        self._count += 1
        return self._count

    def alice(self, has_key=True):
        """Alice's home: her own key, unless the first who asks wants none, and the public keys of Bob and Carol (Dave
        has none)."""
        if self._alice is None:
            self._alice = Gpg(os.path.join(self.folder, "a"))
            self.add(self._alice.close)
            if has_key:
                self._alice.take(keys().export_secret(ALICE), own=True)
            for address in (BOB, CAROL):
                self._alice.take(keys().export(address))
        return self._alice

    def certificate(self, name="server", names="DNS:localhost,IP:127.0.0.1"):
        """Certificate and key files for a server, by default at localhost and 127.0.0.1."""
        certificate, key = os.path.join(self.folder, name + ".pem"), os.path.join(self.folder, name + ".key")
        if not os.path.exists(certificate):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-subj", "/CN=" + name, "-addext", "subjectAltName=" + names, "-days", "30",
                            "-out", certificate, "-keyout", key], check=True, capture_output=True)
        return certificate, key


TRUSTING = 'rule "all" { encrypt = when-possible  sign = always  trust = unverified }'
REQUIRED = 'rule "all" { encrypt = required  sign = always  trust = unverified }'
