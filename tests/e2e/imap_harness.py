"""What the IMAP tests share: the reference server, clients of Python's and a raw one, and a world with all of it."""
import imaplib
import os
import re
import socket
import ssl
import subprocess
import urllib.parse

import harness
from harness import World

IMAPD = os.environ.get("IMAPD", "build/tests/imapd")
# A download in one piece may hold a whole mailbox.
imaplib._MAXLINE = 10 << 20  # pylint: disable=protected-access


class RefImap:
    """The reference IMAP server, with the mail that it holds and the bytes that it received."""

    def __init__(self, world, name="i", tls="none", capabilities=None, auth="PLAIN", certificate=None):
        self.folder = os.path.join(world.folder, name)
        self.store, self.wire_file = os.path.join(self.folder, "mail"), os.path.join(self.folder, "wire")
        self.fault_file = os.path.join(self.folder, "faults")
        os.makedirs(self.store)
        self.command = [IMAPD, "--tls", tls, "--faults", self.fault_file, "--store", self.store, "--wire",
                        self.wire_file, "--auth", auth, "--user", "alice", "--password", "secret"]
        if capabilities is not None:
            self.command += ["--capabilities", capabilities]
        if tls != "none":
            self.certificate, key = certificate or world.certificate()
            self.command += ["--cert", self.certificate, "--key", key]
        self.tls, self.port, self.process = tls, 0, None
        self.start()
        world.add(self.close)

    def start(self):
        self.process = subprocess.Popen(self.command + ["--port", str(self.port)], stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().split()[1])

    def restart(self):
        """As a power cut would; what was received before is forgotten."""
        self.close()
        self.start()

    def url(self):
        scheme = {"none": "imap+clear", "starttls": "imap", "implicit": "imaps"}[self.tls]
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

    def mail(self, mailbox="INBOX"):
        """(UID, bytes) of every message in a mailbox, in order."""
        folder = os.path.join(self.store, urllib.parse.quote(mailbox, safe=""))
        uids = sorted(int(name[:-4]) for name in os.listdir(folder) if re.fullmatch(r"\d+\.eml", name))
        result = []
        for uid in uids:
            with open(os.path.join(folder, "%d.eml" % uid), "rb") as file:
                result.append((uid, file.read()))
        return result

    def all_mail(self):
        """All that it holds, in one piece."""
        return b"".join(content for folder in sorted(os.listdir(self.store))
                        if os.path.isdir(os.path.join(self.store, folder))
                        for _, content in self.mail(urllib.parse.unquote(folder)))

    def client(self):
        """An imaplib session with the server itself, logged in."""
        context = ssl.create_default_context(cafile=self.certificate) if self.tls == "starttls" else None
        return harness.imap_client(self.port, context=context)

    def put(self, *messages, mailbox="INBOX", flags=None):
        """Appends messages as they are, without the proxy; gives back their UIDs if the server tells them."""
        with self.client() as client:
            if client.status(mailbox, "(MESSAGES)")[0] != "OK":
                check(client.create(mailbox))
            uids = []
            for message in messages:
                said = check(client.append(mailbox, flags, None, message))
                uids += [int(uid) for uid in re.findall(rb"APPENDUID \d+ (\d+)", said[0])]
            return uids

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


def check(answer):
    """The data of an answer that is OK."""
    if answer[0] != "OK":
        raise AssertionError("%s %r" % answer)
    return answer[1]


def fetched(client, numbers, items, uid=False):
    """(number, text around the literals, the literals) of each FETCH response. Only for FETCH whose items are sections,
    or have no literals in them."""
    answer = client.uid("fetch", numbers, items) if uid else client.fetch(numbers, items)
    result, texts, literals = [], [], []
    for piece in check(answer):
        if piece is None:
            continue
        if isinstance(piece, tuple):
            texts.append(piece[0])
            literals.append(piece[1])
            continue
        texts.append(piece)
        text = b" ".join(texts)
        result.append((int(text.split(b" ", 1)[0]), text, literals))
        texts, literals = [], []
    return result


def whole(client, number, uid=False):
    """BODY[] of one message."""
    (_, _, (content,)), = fetched(client, str(number), "(BODY.PEEK[])", uid)
    return content


class Raw:
    """A client that sends what it is told, byte for byte, and takes responses apart no further than their literals."""

    def __init__(self, port, timeout=30, greeting=True, small=False):
        """small: hardly anything is received before it is taken."""
        self.socket = socket.socket()
        if small:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input, self.number = b"", 0
        self.greeting = self.line() if greeting else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def _more(self):
        """False at the end of the connection."""
        try:
            more = self.socket.recv(1 << 20)
        except ConnectionResetError:
            more = b""
        self.input += more
        return bool(more)

    def take(self, count):
        """Exactly so many bytes, or fewer at the end."""
        while len(self.input) < count and self._more():
            pass
        data, self.input = self.input[:count], self.input[count:]
        return data

    def line(self):
        """The next line without its end; b"" at the end of the connection."""
        while b"\r\n" not in self.input:
            if not self._more():
                line, self.input = self.input, b""
                return line
        line, self.input = self.input.split(b"\r\n", 1)
        return line

    def response(self):
        """One response with its literals, without its last line end; b"" at the end of the connection."""
        whole_response = self.line()
        while True:
            mark = re.search(rb"\{(\d+)\}$", whole_response)
            if mark is None:
                return whole_response
            whole_response += b"\r\n" + self.take(int(mark.group(1))) + self.line()

    def answer(self, tag):
        """(untagged and continuation responses, what follows the tag) up to the tagged response; b"" at the end."""
        responses = []
        while True:
            response = self.response()
            if response == b"" or response.startswith(tag.encode() + b" "):
                return responses, response[len(tag) + 1:]
            responses.append(response)

    def tag(self):
        self.number += 1
        return "t%d" % self.number

    def command(self, text, *literals):
        """Carries out a command; each literal, a pair (bytes, text that follows it), is sent when the server asks for
        it. Gives back what answer() does."""
        tag = self.tag()
        text = text if isinstance(text, bytes) else text.encode()
        begun = []
        for content, after in literals:
            self.send((tag.encode() + b" " if not begun else b"") + text + b" {%d}\r\n" % len(content))
            begun.append(self.response())
            if not begun[-1].startswith(b"+"):
                return begun[:-1], begun[-1][len(tag) + 1:] if begun[-1].startswith(tag.encode()) else begun[-1]
            self.send(content)
            text = after if isinstance(after, bytes) else after.encode()
        self.send((b"" if literals else tag.encode() + b" ") + text + b"\r\n")
        return self.answer(tag)

    def ok(self, text, *literals):
        """Untagged responses of a command that must be OK."""
        responses, result = self.command(text, *literals)
        assert result.startswith(b"OK"), (text, responses, result)
        return responses

    def login(self):
        self.ok("LOGIN alice secret")
        return self

    def start_tls(self, context):
        self.ok("STARTTLS")
        self.secure(context)

    def secure(self, context):
        self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.input = b""

    def to_the_end(self):
        """All responses until the peer closes."""
        responses = []
        while True:
            response = self.response()
            if response == b"":
                return responses
            responses.append(response)

    def close(self):
        self.socket.close()


class Case(World):
    """Tests of one proxy before one reference server."""

    def begin(self, tls="none", rules=harness.TRUSTING, options="", account="", timeout_percent=100, listen=None,
              **server_options):
        self.server = RefImap(self, tls=tls, **server_options)
        self.proxy = harness.Proxy(self, None, imap=self.server, rules=rules, options=options, account=account,
                                   timeout_percent=timeout_percent, listen=listen)

    def imap(self):
        """An imaplib session through the proxy, logged in."""
        return self.proxy.imap()

    def raw(self, login=True, port=None):
        raw = Raw(port or self.proxy.imap_port)
        self.addCleanup(raw.close)
        return raw.login() if login else raw
