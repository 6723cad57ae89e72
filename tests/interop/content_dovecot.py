#!/usr/bin/python3
"""Messages of all kinds, many of them broken, described by content_dump and by Dovecot.

Usage: content_dovecot.py CONTENT_DUMP [messages [seed]]
ENVELOPE, BODY, BODYSTRUCTURE and sections (whole parts, headers, texts, MIME headers, fields, pieces; also of parts
that are not there) must be the same bytes, when Dovecot reads the message and when it answers from its cache. Prints
each difference, then "N passed, N failed" (or skipped, where Dovecot is not installed).
"""
import os
import random
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import content_made  # noqa: E402
import corpus  # noqa: E402
import dovecot  # noqa: E402

BATCH = 100
SHOWN = 10
ITEMS = ("ENVELOPE BODY BODYSTRUCTURE RFC822.SIZE BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[1.1] BODY.PEEK[2] "
         "BODY.PEEK[TEXT]")


def nested(kind, depth):
    """A message with so many multiparts, or messages, in one another."""
    if kind == "multipart":
        heads = [b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(depth)]
        ends = [b"\r\n--b%d--\r\n" % i for i in reversed(range(depth))]
    else:
        heads = [b"Subject: %d\r\nContent-Type: message/rfc822\r\n\r\n" % i for i in range(depth)]
        ends = []
    return b"".join(heads) + b"Content-Type: text/html\r\n\r\nend\r\n" + b"".join(ends)


def chosen():
    """What mail programs make, and what comes near the limits."""
    messages = [make() for make in corpus.KINDS if make not in (corpus.big, corpus.signed)]
    # Of what is within multiparts that are too deep, Dovecot loses some bytes.
    messages += [nested("multipart", depth) for depth in (97, 98, 99)]
    messages += [nested("message", depth) for depth in (97, 98, 99, 100, 101, 102, 130)]
    messages.append(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 10050 + b"--b--\r\n")
    messages.append(b"X-Long: " + b"x " * 600000 + b"\r\nSubject: late\r\nContent-Type: text/html\r\n\r\nbody\r\n")
    return [(message, ITEMS) for message in messages]


def as_sent(message):
    """A server sends CRLF at every line's end."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", message)


def take_value(text, at):
    """The end of the value that begins at `at`."""
    if text[at:at + 1] == b"{":
        end = text.index(b"}\r\n", at)
        return end + 3 + int(text[at + 1:end])
    if text[at:at + 1] == b'"':
        while True:
            at = min(i for i in (text.find(b'"', at + 1), text.find(b"\\", at + 1)) if i >= 0)
            if text[at:at + 1] == b'"':
                return at + 1
            at += 1
    if text[at:at + 1] == b"(":
        at += 1
        while text[at:at + 1] != b")":
            at = take_value(text, at) if text[at:at + 1] != b" " else at + 1
        return at + 1
    while at < len(text) and text[at:at + 1] not in b" )":
        at += 1
    return at


def split(answer):
    """{label: value} of "LABEL value LABEL value"."""
    found, at = {}, 0
    while at < len(answer):
        start = at
        while answer[at:at + 1] != b" ":
            at = answer.index(b"]", at) + 1 if answer[at:at + 1] == b"[" else at + 1
        label, end = answer[start:at], take_value(answer, at + 1)
        found[label] = answer[at + 1:end]
        at = end + 1
    return found


def ask_dump(dump, asked):
    """Answers to (message, items) each."""
    data = b"".join(b"%d (%s)\n%s" % (len(message), items.encode(), message) for message, items in asked)
    out = subprocess.run([dump], input=data, capture_output=True, check=False)
    if out.returncode != 0:
        sys.exit("content_dump: %s" % out.stderr.decode(errors="replace"))
    answers, at = [], 0
    while at < len(out.stdout):
        end = out.stdout.index(b"\n", at)
        size = int(out.stdout[at:end])
        answers.append(split(out.stdout[end + 1:end + 1 + size]))
        at = end + 1 + size
    return answers


def ask_dovecot(server, mailbox, asked):
    """The same of Dovecot; None where it refuses."""
    answers = []
    with server.talk() as talk:
        talk.command(b"EXAMINE " + mailbox.encode())
        for number, (_, items) in enumerate(asked, 1):
            untagged, _ = talk.command(b"FETCH %d (%s)" % (number, items.encode()))
            begin = b"* %d FETCH (" % number
            found = [line for line in untagged if line.startswith(begin)]
            answers.append(split(found[0][len(begin):-3]) if found else None)
    return answers


def report(message, ours, theirs):
    print("%r" % message)
    for label in sorted(set(ours) | set(theirs or {})):
        if theirs is None or ours.get(label) != theirs.get(label):
            print("  %s\n    here    %r\n    Dovecot %r" % (label.decode(errors="replace"), ours.get(label),
                                                         theirs and theirs.get(label)))


class Count:
    def __init__(self, server, dump):
        self.server, self.dump, self.passed, self.failed, self.mailboxes = server, dump, 0, 0, 0

    def compare(self, asked):
        """Asks twice, since the second answer comes from the cache."""
        self.mailboxes += 1
        mailbox = "m%d" % self.mailboxes
        self.server.deliver("alice", mailbox, [message for message, _ in asked])
        here = ask_dump(self.dump, [(as_sent(message), items) for message, items in asked])
        for there in (ask_dovecot(self.server, mailbox, asked), ask_dovecot(self.server, mailbox, asked)):
            for (message, _), ours, theirs in zip(asked, here, there):
                if ours == theirs:
                    self.passed += 1
                    continue
                self.failed += 1
                if self.failed <= SHOWN:
                    report(message, ours, theirs)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if not dovecot.is_there():
        print("0 passed, 0 failed, 1 skipped")
        return 0
    messages = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    with dovecot.Dovecot() as server:
        count = Count(server, sys.argv[1])
        count.compare(chosen())
        for start in range(0, messages, BATCH):
            count.compare([content_made.make(random.Random("%d %d" % (seed, number)))
                           for number in range(start, min(messages, start + BATCH))])
    print("%d passed, %d failed" % (count.passed, count.failed))
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
