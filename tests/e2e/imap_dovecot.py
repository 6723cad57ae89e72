"""A private Dovecot behind privyseal, with what crossed between them, and with what an agent was asked to do."""
import os
import re
import unittest

import dovecot
import harness
from harness import BOB, wait_for

# What asks a server for content: a body, or a part of one.
BODY = re.compile(rb"(?i)BODY(?:\.PEEK)?\[|RFC822(?!\.SIZE)")
# privyseal's own question whether a message is protected is no download: a few hundred bytes of it.
CLASSIFY = re.compile(rb"BODY\.PEEK\[HEADER\.FIELDS \(Privyseal-Verdict [^)]*\)\]|BODY\.PEEK\[1\]<0\.1024>")


class RawLog:
    """What one user's sessions said to Dovecot, and what it said, without the time that begins each line."""

    def __init__(self, server, user="alice"):
        self.folder = os.path.join(server.folder, "mail", user, "rawlog")
        os.makedirs(self.folder)
        if os.geteuid() == 0:
            os.chown(self.folder, *server.owner)
        self.marks = {}

    def _files(self, kind):
        return sorted(os.path.join(self.folder, name) for name in os.listdir(self.folder) if name.endswith(kind))

    def mark(self):
        """What was said until now does not count."""
        self.marks = {path: os.path.getsize(path) for path in self._files("")}

    def _since(self, kind):
        said = b""
        for path in self._files(kind):
            with open(path, "rb") as file:
                file.seek(self.marks.get(path, 0))
                said += file.read()
        return re.sub(rb"(?m)^\d{10}\.\d{6} ", b"", said)

    def commands(self):
        return self._since(".in")

    def received(self):
        """How many bytes Dovecot has sent."""
        return len(self._since(".out"))

    def downloads(self):
        """Lines of commands that ask for content, privyseal's own looking whether there is something to open aside."""
        return [line for line in self.commands().splitlines() if BODY.search(CLASSIFY.sub(b"", line))]

    def bodies(self):
        """How many times a whole message was asked for."""
        return len(re.findall(rb"BODY\.PEEK\[\][ )]", self.commands()))


class AgentLog:
    """Counts what the gpg-agent of a home is asked to do with private keys. Begins a new agent."""

    def __init__(self, gpg, *options):
        self.path = os.path.join(gpg.home, "agent.log")
        with open(os.path.join(gpg.home, "gpg-agent.conf"), "w", encoding="ascii") as file:
            file.write("\n".join(("log-file " + self.path, "debug ipc") + options) + "\n")
        gpg.close()
        self.proxy = None

    def settle(self, proxy):
        """From here on what a proxy does with the keys of its store is not counted. It has wrapped them at a login."""
        wait_for(lambda: "wrapped to the OpenPGP key" in proxy.log(), "the store's keys")
        self.proxy = proxy

    def count(self, verb="PKDECRYPT"):
        """How often a private key has decrypted (PKDECRYPT) or signed (PKSIGN) something of a message."""
        others = 0
        if self.proxy:
            words = {"PKDECRYPT": "(opened with|wrapped to)", "PKSIGN": "wrapped to"}[verb]
            others = len(re.findall("store's keys of .*: %s the OpenPGP key" % words, self.proxy.log()))
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                return len(re.findall(r"<- %s\b" % verb, file.read())) - others
        except FileNotFoundError:
            return 0


@unittest.skipUnless(dovecot.is_there(), "Dovecot is not installed")
class DovecotCase(harness.World):
    """Tests of one proxy before a Dovecot, where Alice has mail."""

    def begin(self, users=("alice",), options="", **server_options):
        self.server = dovecot.Dovecot(users=users, options="protocol imap {\n  rawlog_dir = %h/rawlog\n}\n",
                                      **server_options)
        self.add(self.server.close)
        self.rawlog = RawLog(self.server)
        self.alice().take(harness.keys().export(BOB))
        self.agent = AgentLog(self.alice())
        self.proxy = harness.Proxy(self, None, imap=self.server, options=options)
        self.talk().close()
        self.agent.settle(self.proxy)

    def talk(self, direct=False, user="alice"):
        """A session with the proxy, or with Dovecot itself."""
        talk = dovecot.Talk(self.server.port if direct else self.proxy.imap_port, user, "secret")
        self.add(talk.close)
        return talk

    def held(self):
        """All that Dovecot holds of Alice's mail, in one piece, without its logs of sessions."""
        found = b""
        for root, _, names in os.walk(os.path.join(self.server.folder, "mail", "alice", "Maildir")):
            for name in sorted(names):
                with open(os.path.join(root, name), "rb") as file:
                    found += file.read()
        return found


def read(talk, mailbox=b"INBOX", numbers=b"1:*"):
    """UID, size as the server says it, and bytes of each message."""
    talk.command(b"SELECT " + mailbox)
    rows = []
    for response in talk.command(b"FETCH %s (UID RFC822.SIZE BODY.PEEK[])" % numbers)[0]:
        match = re.match(rb"\* \d+ FETCH \(UID (\d+) RFC822\.SIZE (\d+) BODY\[\] \{(\d+)\}\r\n", response)
        if match:
            uid, size, length = (int(number) for number in match.groups())
            rows.append((uid, size, response[match.end():match.end() + length]))
    return rows
