#!/usr/bin/python3
"""A mailbox of plain mail through privyseal answers what Dovecot itself answers, byte for byte.

Sessions as mail programs hold them, recorded as what the program sends, are played twice: to Dovecot, and to privyseal
before another user of the same Dovecot with a copy of the same mail, indexes included. What both say is compared whole,
but for the greeting, capabilities, ID, the time that a command took, and the UIDVALIDITY of mailboxes made meanwhile.
"""
import base64
import os
import re
import shutil
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import corpus  # noqa: E402
import dovecot  # noqa: E402
import harness  # noqa: E402
import shapes  # noqa: E402

COUNT = 24
BIG_SIZE = 3 << 20
SHOWN = 20
DATE = '"20-Nov-2026 12:00:00 +0100"'
NEW = corpus.lines("From: Bob <bob@example.net>\nTo: alice@example.org\nSubject: new\nMessage-ID: <new@example.net>\n"
                   "Date: Fri, 20 Nov 2026 12:00:00 +0000\n\nnews\n")
MUTT_FIELDS = ("DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO "
               "REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO")
BIRD_FIELDS = ("From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To "
               "Content-Type Reply-To")


class Append:
    """Somebody else puts a message into INBOX."""

    def __init__(self, message=NEW):
        self.message = message

    def happen(self, talk, mailbox=b"INBOX"):
        talk.append(mailbox.decode(), self.message, b"() " + DATE.encode())


class Elsewhere:
    """Somebody else gives commands to INBOX."""

    def __init__(self, *commands):
        self.commands = commands

    def happen(self, talk):
        talk.command(b"SELECT INBOX")
        for command in self.commands:
            talk.command(command.encode())
        talk.command(b"UNSELECT")


class Until:
    """The server says something of its own accord."""

    def __init__(self, pattern):
        self.pattern = pattern.encode()


def literal(text, message, plus="", after=""):
    """A command that ends in a literal, as one step where it is not waited for, else as two."""
    if plus:
        return [b"%s {%d%s}\r\n%s%s" % (text.encode(), len(message), plus.encode(), message, after.encode())]
    return ["%s {%d}" % (text, len(message)), message + after.encode()]


# Each step is what a program sends at once (the line end is added): %(name)s stands for what SELECT has last said.
IMAPLIB = [
    "OKFB0 CAPABILITY", "OKFB1 LOGIN %(user)s \"secret\"", "OKFB2 NOOP", "OKFB3 LIST \"\" *", "OKFB4 LSUB \"\" *",
    "OKFB5 STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)", "OKFB6 SELECT INBOX",
    "OKFB7 SEARCH ALL", "OKFB8 FETCH 1 (RFC822)", "OKFB9 FETCH 2 (FLAGS)", "OKFB10 FETCH 1:5 (BODY[HEADER])",
    "OKFB11 UID SEARCH CHARSET UTF-8 SUBJECT \"queen\"", "OKFB12 UID FETCH 3:5 (UID RFC822.SIZE BODY.PEEK[TEXT])",
    "OKFB13 STORE 1:3 +FLAGS (\\Deleted)", "OKFB14 EXPUNGE", "OKFB15 CREATE Made", "OKFB16 SUBSCRIBE Made",
    "OKFB17 COPY 1:4 Made", "OKFB18 COPY 1 \"Not there\"", "OKFB19 RENAME Made \"Made, too\"",
    "OKFB20 STATUS \"Made, too\" (MESSAGES UNSEEN)"] + literal(
        "OKFB21 APPEND INBOX (\\Seen) " + DATE, NEW) + literal(
            "OKFB23 SEARCH CHARSET UTF-8 BODY", "Grüße".encode()) + [
    "OKFB24 FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "OKFB25 FETCH * FULL", "OKFB26 CHECK", "OKFB27 CLOSE",
    "OKFB28 EXAMINE \"Made, too\"", "OKFB29 FETCH 1 (BODY[])", "OKFB30 STORE 1 FLAGS (\\Seen)", "OKFB31 UNSELECT",
    "OKFB32 SELECT Missing", "OKFB34 UNSUBSCRIBE Made", "OKFB35 DELETE \"Made, too\"",
    "OKFB36 NAMESPACE", "OKFB37 LOGOUT"]

THUNDERBIRD = [
    "1 capability", "2 authenticate PLAIN %(plain)s", "3 capability",
    "4 ID (\"name\" \"Thunderbird\" \"version\" \"140.5.0\")", "5 namespace",
    "6 list (subscribed) \"\" \"*\" return (special-use)", "7 list \"\" \"INBOX\"", "8 select \"INBOX\"",
    "9 UID fetch 1:* (FLAGS)",
    "10 UID fetch 1:12 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (%s)])" % BIRD_FIELDS,
    "11 UID fetch 13:24 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (%s)])" % BIRD_FIELDS,
    "12 UID fetch 4 (UID RFC822.SIZE BODY.PEEK[])", "13 UID fetch 6 (BODYSTRUCTURE)",
    "14 UID fetch 6 (BODY.PEEK[HEADER] BODY.PEEK[1.MIME] BODY.PEEK[1] BODY.PEEK[2.MIME])",
    "15 uid store 4 +FLAGS (\\Seen)"] + [
    "%d UID fetch 25 (UID RFC822.SIZE BODY[]<%d.65536>)" % (16 + number, number * 65536) for number in range(49)] + [
    "70 IDLE", Append(), Until(r"\* \d+ RECENT"), "DONE", "71 noop", "72 UID fetch 26:* (FLAGS)",
    "73 UID fetch 26 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (%s)])" % BIRD_FIELDS,
    "74 IDLE", Elsewhere("STORE 2 +FLAGS.SILENT (\\Flagged)"), Until(r"\* 2 FETCH"), "DONE",
    "75 IDLE", Elsewhere("STORE 3 +FLAGS.SILENT (\\Deleted)", "EXPUNGE"), Until(r"\* 3 EXPUNGE"), "DONE",
    "76 create \"Trash\"", "77 subscribe \"Trash\"", "78 uid copy 5,7:9 \"Trash\"",
    "79 uid store 5,7:9 +FLAGS (\\Deleted \\Seen)", "80 uid expunge 5,7:9", "81 uid move 10 \"Trash\"",
    "82 status \"Trash\" (UIDNEXT MESSAGES UNSEEN RECENT)",
    "83 UID SEARCH UNDELETED (OR OR HEADER Subject \"tea\" HEADER From \"bob\" BODY \"rabbit\")"] + literal(
        "84 append \"Drafts\" (\\Seen \\Draft) " + DATE, NEW, "+") + [
    "85 select \"Drafts\"", "86 UID fetch 1:* (FLAGS)", "87 UID fetch 1 (UID RFC822.SIZE BODY[])",
    "88 close", "89 logout"]

MUTT = [
    "a0000 CAPABILITY", "a0001 LOGIN %(user)s secret", "a0002 CAPABILITY", "a0003 LIST \"\" \"\"",
    "a0004 ENABLE CONDSTORE QRESYNC", "a0005 STATUS \"Archive\" (UIDNEXT UIDVALIDITY UNSEEN RECENT MESSAGES)",
    "a0006 SELECT \"INBOX\"",
    "a0007 FETCH 1:25 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (%s)])" % MUTT_FIELDS,
    "a0008 UID FETCH 7 BODY.PEEK[]", "a0009 UID STORE 7 +FLAGS.SILENT (\\Seen)",
    "a0010 UID SEARCH BODY \"cheshire\"", "a0011 IDLE", Append(), Until(r"\* \d+ RECENT"), "DONE",
    "a0012 FETCH 26:26 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (%s)])" % MUTT_FIELDS,
    "a0013 UID STORE 7:9 +FLAGS.SILENT (\\Deleted)", "a0014 UID COPY 7:9 \"Archive\"", "a0015 EXPUNGE",
    "a0016 SELECT \"Archive\"", "a0017 SELECT \"INBOX\" (QRESYNC (%(uidvalidity:INBOX)s 5))",
    "a0018 UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE %(highestmodseq:INBOX)s VANISHED)",
    "a0019 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 3)", "a0020 UID STORE 11 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Answered)",
    "a0021 UID SEARCH MODSEQ 2", "a0022 FETCH 1:5 (MODSEQ)", "a0023 UNSELECT", "a0024 LOGOUT"]

MBSYNC = [
    "1 CAPABILITY", "2 LOGIN \"%(user)s\" \"secret\"", "3 CAPABILITY", "4 NAMESPACE", "5 LIST \"\" \"*\"",
    "6 SELECT \"INBOX\"\r\n7 UID FETCH 1:1000000000 (UID FLAGS)",
    "\r\n".join("%d UID FETCH %d (UID BODY.PEEK[])" % (8 + uid, uid) for uid in range(1, 26))] + literal(
        "40 APPEND \"INBOX\" (\\Seen \\Flagged) " + DATE, NEW, "+") + [
    "41 UID FETCH %(uidnext)s:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (X-TUID)])",
    "42 UID STORE 1 +FLAGS.SILENT (\\Deleted)\r\n43 UID STORE 2 +FLAGS.SILENT (\\Answered)\r\n"
    "44 UID STORE 3 -FLAGS.SILENT (\\Seen)", "45 UID EXPUNGE 1", "46 CREATE \"Box\"", "47 SELECT \"Box\"",
    "48 UID FETCH 1:* (UID FLAGS)", "49 CLOSE", "50 LOGOUT"]

APPLE = [
    "1.1 CAPABILITY", "2.1 AUTHENTICATE PLAIN", "%(plain)s", "3.1 CAPABILITY", "4.1 NAMESPACE",
    "5.1 LIST \"\" \"*\" RETURN (SPECIAL-USE CHILDREN STATUS (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ))",
    "6.1 LIST (SPECIAL-USE) \"\" \"*\"", "7.1 LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"Arch*\" \"%%\")",
    "8.1 STATUS \"INBOX\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)", "9.1 SELECT INBOX (CONDSTORE)",
    "10.1 FETCH 1:25 (FLAGS UID MODSEQ)",
    "11.1 UID FETCH 1:24 (INTERNALDATE UID RFC822.SIZE FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (date subject from to cc "
    "message-id in-reply-to references x-priority content-type)])",
    "12.1 UID FETCH 1:6 (BODYSTRUCTURE BODY.PEEK[HEADER])",
    "\r\n".join("13.%d UID FETCH %d (BODY.PEEK[1]<0.300> BODY.PEEK[2]<100.50> BODY.PEEK[1.1] BODY.PEEK[1.2.HEADER])" % (
        uid, uid) for uid in range(1, 13)),
    "14.1 UID SEARCH RETURN (SAVE COUNT MIN MAX) UNSEEN LARGER 500", "15.1 FETCH $ (UID FLAGS)",
    "16.1 UID SEARCH RETURN (ALL) OR FROM bob NOT SUBJECT tea", "17.1 UID STORE $ +FLAGS ($Junk)",
    "18.1 STORE 4 (UNCHANGEDSINCE 100000) +FLAGS (\\Answered)", "19.1 UID SEARCH YOUNGER 100 SINCE 1-Jan-2020",
    "20.1 UID FETCH 25 BODY.PEEK[]<0.262144>", "21.1 UID FETCH 25 BODY.PEEK[]", "22.1 UID FETCH 25 (RFC822.TEXT)",
    "23.1 LOGOUT"]

ODD = [
    # Nothing of this is wrong, but not every server has met it.
    b"x1 LOGIN {%(userlen)s+}\r\n%(user)s {6+}\r\nsecret", "x2 select inbox",
    "x3 fetch 1,3:4,* (body.peek[header.fields.not (\"subject\" from)]<5.60> rfc822.size)",
    "x4 FETCH 1 BODY[]<0.0>", "x5 FETCH 1 (BODY[TEXT]<1000000.5>)",
    "x6 FETCH 1:3 (UID BODY.PEEK[9] BODY.PEEK[9.9.MIME])", "x7 FETCH 999 (FLAGS)", "x8 FETCH 1:999 (FLAGS)",
    "x9 UID FETCH 999999 (BODY[])", "x10 UID FETCH 999999:* (UID)", "x11 SEARCH 1:* NOT 5", "x12 SEARCH UID 2:4 ALL",
    "x13 SEARCH CHARSET NONE BODY x", "x14 STORE 1 FLAGS.SILENT (one two)", "x15 STORE 2 +FLAGS three",
    "x16 FETCH 1:2 (FLAGS)", "x17 LIST \"\" %%", "x18 LIST \"\" \"Arch&AOk-*\"", "x19 STATUS missing (MESSAGES)",
    "x20 NOOP\r\nx21 FETCH 2 (BODY.PEEK[])\r\nx22 NOOP\r\nx23 SEARCH ALL\r\nx24 STORE 3 +FLAGS (\\Flagged)\r\nx25 NOOP",
    b"x26 APPEND Nowhere {5+}\r\nA: b\n", b"x26 SEARCH SUBJECT {5+}\r\nqueen BODY {3+}\r\nTEA",
    b"x27 APPEND INBOX (\\Seen) %s {%d+}\r\n%s" % (DATE.encode(), BIG_SIZE, bytes(
        65 + number % 26 if number % 78 < 76 else b"\r\n"[number % 78 - 76] for number in range(BIG_SIZE))),
    "x28 UID FETCH %(uidnext)s (RFC822.SIZE BODY.PEEK[])", "x29 UID FETCH %(uidnext)s (BODY.PEEK[]<1000000.1000000>)",
    "x30 IDLE", Append(), Until(r"\* \d+ RECENT"), Elsewhere("STORE 27 +FLAGS.SILENT (\\Deleted)", "EXPUNGE"),
    Until(r"\* 27 EXPUNGE"), "DONE", "x31 MOVE 1:2 Archive", "x32 FETCH 1:* (UID)", "x33 EXPUNGE", "x34 UNSELECT",
    "x35 SELECT \"\"", "x36 LOGOUT"]

SESSIONS = {"imaplib": IMAPLIB, "thunderbird": THUNDERBIRD, "mutt": MUTT, "mbsync": MBSYNC, "apple": APPLE, "odd": ODD}


class Bare(dovecot.Talk):
    """Not logged in."""

    def __init__(self, port):  # pylint: disable=super-init-not-called
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.response()


class Player:
    """Plays a session, and keeps all that is said to it."""

    def __init__(self, port, user, outside):
        self.user, self.outside = user, outside
        self.talk = Bare(port)
        self.values = {"user": user, "userlen": str(len(user)),
                       "plain": base64.b64encode(b"\0%s\0secret" % user.encode()).decode()}
        self.said, self.tag, self.mailbox = [], b"", ""

    def fill(self, step):
        """With the user's name, and with what the server has said of UIDs."""
        if isinstance(step, bytes):
            if b"%(user" not in step:
                return step
            return (step.decode() % self.values).encode()
        return (step % self.values).encode() if "%" in step else step.encode()

    def hear(self):
        response = self.talk.response()
        self.said.append(response)
        for name, value in re.findall(rb"\[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)\]", response[:200]):
            self.values[name.decode().lower()] = value.decode()
            self.values["%s:%s" % (name.decode().lower(), self.mailbox)] = value.decode()
        return response

    def send(self, step):
        """Hears all that is said to it. True if a literal in it was refused."""
        text, before = self.fill(step), len(self.said)
        if text != b"DONE" and re.match(rb"[\w.]+ \w", text):
            # That of the last command; in literals there are none.
            begun = text.split(b"{")[0]
            self.tag = re.findall(rb"(?m)^([\w.]+) [A-Za-z]+(?: |\r|$)", begun)[-1]
        if re.match(rb"(?i)\S+ (select|examine) ", text):
            self.mailbox = text.split()[2].strip(b'"').decode()
        self.talk.socket.sendall(text + b"\r\n")
        waits = re.search(rb"(?i)\{\d+\}$| IDLE$|AUTHENTICATE PLAIN$", text[-300:])
        while True:
            response = self.hear()
            if response.startswith(self.tag + b" ") or (waits and response.startswith(b"+")):
                break
        if b"\r\n" in text and b"{" not in text:
            # Dovecot answers pipelined commands in an order that differs from run to run.
            self.said[before:] = sorted(self.said[before:])
        return bool(waits) and not response.startswith(b"+")

    def play(self, steps):
        is_refused = False  # what a literal begins to say
        for step in steps:
            if is_refused:
                is_refused = False
            elif isinstance(step, Until):
                while not re.match(step.pattern, self.hear()):
                    pass
            elif isinstance(step, (str, bytes)):
                is_refused = self.send(step)
            else:
                step.happen(self.outside)
        return self.said


def normal(response, validities):
    """Without what two servers cannot say alike; nothing if that is all."""
    if re.match(rb"\* (CAPABILITY|ID) |[\w.]+ OK (Capability|Pre-login|ID|Logout) ", response):
        return b""
    response = re.sub(rb"\[CAPABILITY [^\]]*\] ", b"", response)
    # Whether anything has come since somebody last looked depends on when that was.
    response = re.sub(rb"(\* LIST \([^)]*?) ?\\(?:Un)?Marked", rb"\1", response).replace(b"LIST ( ", b"LIST (")
    if re.match(rb"[\w.]+ (OK|NO|BAD) ", response):
        response = re.sub(rb" \([\d.]+ \+ [\d.]+(?: \+ [\d.]+)? secs\)", b"", response)
    if not response.startswith(b"* ") or not re.match(rb"\* \d+ FETCH", response):
        for name, number in re.findall(rb"(UIDVALIDITY|APPENDUID|COPYUID) (\d+)", response):
            if number not in validities:
                response = response.replace(name + b" " + number, name + b" N")
    return response


@unittest.skipUnless(dovecot.is_there(), "Dovecot is not installed")
class Untouched(harness.World):
    def begin(self):
        self.server = dovecot.Dovecot(users=("alice", "twin"))
        self.add(self.server.close)
        self.fill()
        self.proxy = harness.Proxy(self, None, imap=self.server, account="    append = plain")

    def fill(self):
        """The twin's mail, opened once so that all indexes are there, and a copy of them for Alice."""
        maker = shapes.Maker(7)
        messages = [maker.message() for _ in range(COUNT)]
        messages.append(corpus.header("big") + b"\r\n" + (b"0123456789" * 7 + b"\r\n") * 45000)
        self.server.deliver("twin", "INBOX", messages)
        self.server.deliver("twin", "Archive", [corpus.text(), corpus.eight_bit()], "S")
        self.server.deliver("twin", "Drafts", [])
        talk = self.server.talk("twin")
        self.validities = set()
        for name in (b"INBOX", b"Archive", b"Drafts"):
            said = b"".join(talk.command(b"SELECT " + name)[0])
            self.validities.update(re.findall(rb"UIDVALIDITY (\d+)", said))
            talk.command(b"SUBSCRIBE " + name)
        talk.command(b"LOGOUT")
        talk.close()
        source, target = self.server.maildir("twin", "INBOX"), self.server.maildir("alice", "INBOX")
        shutil.copytree(source, target)
        for root, folders, names in os.walk(target):
            for name in folders + names + ["."]:
                path = os.path.join(root, name)
                if os.geteuid() == 0:
                    os.chown(path, *self.server.owner)

    def side(self, port, user, *sessions):
        outside, said = self.server.talk(user), []
        for steps in sessions:
            player = Player(port, user, outside)
            try:
                said += player.play(steps)
            finally:
                player.talk.close()
        outside.close()
        return [text for text in (normal(response, self.validities) for response in said) if text]

    @staticmethod
    def difference(number, ours, theirs):
        mine, other = ours[number], theirs[number]
        at = next((i for i, (a, b) in enumerate(zip(mine, other)) if a != b), min(len(mine), len(other)))
        return "response %d after %r:\nthrough %r\ndirect  %r" % (
            number, [row[:80] for row in theirs[max(0, number - 2):number]], mine[max(0, at - 100):at + 150],
            other[max(0, at - 100):at + 150])

    def compare(self, name):
        """Once with a mailbox that privyseal has not seen before, and then in a session that finds it known."""
        self.begin()
        sessions = SESSIONS[name], APPLE
        theirs = self.side(self.server.port, "twin", *sessions)
        ours = self.side(self.proxy.imap_port, "alice", *sessions)
        found = [self.difference(number, ours, theirs) for number in range(min(len(ours), len(theirs)))
                 if ours[number] != theirs[number]]
        if found:
            self.fail("%s: %d differences\n%s" % (name, len(found), "\n".join(found[:SHOWN])))
        self.assertEqual(len(ours), len(theirs))
        self.assertGreater(len(theirs), len(SESSIONS[name]) / 2)


for _name in SESSIONS:
    setattr(Untouched, "test_" + _name, lambda self, name=_name: self.compare(name))


if __name__ == "__main__":
    unittest.main()
