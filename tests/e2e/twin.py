"""The same mail twice: plain in one mailbox of a Dovecot, sealed in another behind privyseal, and commands to both.

Whatever a mail program asks, both must answer alike. Sealed messages of others carry a verdict in their view; the plain
twin of such a message is the view itself, so that its effect on sizes and searches is accounted for exactly.
"""
import random
import re

import harness
import shapes
import smime_made
from dovecot import Dovecot, Talk
from harness import ALICE, BOB
from shapes import split

DATES = ("17-Jul-1996 02:44:25 -0700", "20-Nov-2026 12:00:00 +0000", "01-Jan-2020 23:59:59 +0200")
LETTERS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "Junk")
FIELDS = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "X-Odd", "Content-Type", "Received", "X-None",
          "References", "X-Empty", "Bcc")

# Dovecot 2.3.19 answers HEADER To beside TO for one of the two forms alone.
OTHER_FIELDS = ("Message-ID", "X-Odd", "Content-Type", "Received", "X-None", "References", "X-Empty")


# ---- messages that others sealed for Alice ----

def gpg(*arguments, data):
    done = harness.keys().run("--armor", "--trust-model", "always", *arguments, data=data)
    return done.stdout.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def encrypted(message, signer=BOB, to=ALICE):
    mime, other, body = split(message)
    options = ["--local-user", signer, "--sign"] if signer else []
    cipher = gpg(*options, "--encrypt", "--recipient", to, data=mime + b"\r\n" + body)
    return (other + b"MIME-Version: 1.0\r\nContent-Type: multipart/encrypted; boundary=\"enc\";\r\n"
            b" protocol=\"application/pgp-encrypted\"\r\n\r\n--enc\r\nContent-Type: application/pgp-encrypted\r\n\r\n"
            b"Version: 1\r\n\r\n--enc\r\nContent-Type: application/octet-stream\r\n\r\n" + cipher +
            b"\r\n--enc--\r\n")


def signed(message, signer=BOB):
    mime, other, body = split(message)
    content = mime + b"\r\n" + body
    signature = gpg("--local-user", signer, "--detach-sign", data=content)
    return (other + b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; micalg=pgp-sha512; boundary=\"sig\";\r\n"
            b" protocol=\"application/pgp-signature\"\r\n\r\n--sig\r\n" + content +
            b"\r\n--sig\r\nContent-Type: application/pgp-signature; name=signature.asc\r\n\r\n" + signature +
            b"\r\n--sig--\r\n")


def inline(message, *options):
    _, other, body = split(message)
    return other + b"\r\n" + gpg(*options, data=body)


def mangled(message, to=ALICE):
    """As Exchange makes it of PGP/MIME."""
    mime, other, body = split(message)
    cipher = gpg("--encrypt", "--recipient", to, data=mime + b"\r\n" + body)
    return (other + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"ex\"\r\n\r\n--ex\r\n"
            b"Content-Type: text/plain\r\n\r\n\r\n--ex\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
            b"\r\n--ex\r\nContent-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\r\n" + cipher +
            b"\r\n--ex--\r\n")


def beside(message, to=ALICE):
    """An encrypted part with a list's footer beside it."""
    sealed = encrypted(message, to=to)
    header, body = sealed.split(b"\r\n\r\n", 1)
    kind = re.search(rb"Content-Type: multipart/encrypted(?:[^\r\n]|\r\n[ \t])*\r\n", header + b"\r\n").group(0)
    return (header + b"\r\n").replace(kind, b"Content-Type: multipart/mixed; boundary=\"list\"\r\n") + (
        b"\r\n--list\r\n" + kind + b"\r\n" + body +
        b"\r\n--list\r\nContent-Type: text/plain\r\n\r\nthe list's footer\r\n--list--\r\n")


def foreign(maker, to=ALICE):
    """One message of each kind, for this key of Alice's."""
    return [encrypted(maker.message(), to=to), encrypted(maker.message(), signer=None, to=to), signed(maker.message()),
            encrypted(signed(maker.message()), signer=None, to=to),
            inline(maker.short_text(), "--encrypt", "--recipient", to),
            inline(maker.short_text(), "--clear-sign", "--local-user", BOB), mangled(maker.message(), to),
            beside(maker.message(), to), encrypted(maker.message(), to=BOB),
            inline(maker.short_text(), "--encrypt", "--sign", "--local-user", BOB, "--recipient", to)]


# ---- the two sides ----

class Pair:
    """The two sides, filled alike with about `count` messages.

    Alice has certificates, and an OpenPGP key that cannot sign: what is saved is sealed by S/MIME. With an odd seed she
    gets a key that can, and what is saved from then on is sealed by OpenPGP.
    """

    def __init__(self, world, count=300, seed=1, options=""):
        self.maker, self.random = shapes.Maker(seed), random.Random(seed)
        self.server = Dovecot(users=("alice", "twin"))
        world.add(self.server.close)
        self.home = world.alice(has_key=False)
        self.reader = self.reading_key()
        self.proxy = harness.Proxy(world, None, imap=self.server, options=options, account=smime_made.account())
        smime_made.import_own(self.proxy.config, *smime_made.people().own())
        self.mailed = []  # what a mail program saved, to be saved again
        self.fill(count, seed % 2 == 1)

    def reading_key(self):
        """Fingerprint of a key of Alice's that only decrypts."""
        keys = harness.keys()
        options = ["--passphrase", "", "--pinentry-mode", "loopback"]
        done = keys.run(*options, "--quick-gen-key", "Reader <%s>" % ALICE, "ed25519", "cert", "0")
        fingerprint = re.search(rb"KEY_CREATED \S+ (\S+)", done.stderr).group(1).decode()
        keys.run(*options, "--quick-add-key", fingerprint, "cv25519", "encr", "0")
        self.home.take(keys.export_secret(fingerprint), own=True)
        return fingerprint

    def take_signing_key(self):
        self.home.take(harness.keys().export_secret(harness.keys().fingerprint(ALICE)), own=True)

    def talks(self):
        return Talk(self.proxy.imap_port, "alice", "secret"), Talk(self.server.port, "twin", "secret")

    def fill(self, count, has_signing_key):
        """Alice's side first; then the twin, with the views of what others sealed for her."""
        rows = []
        while len(rows) < count:
            rows += [("foreign", message) for message in foreign(self.maker, self.reader)]
            rows += [("foreign", message) for message in smime_made.foreign(self.maker)]
            rows += [(kind, self.maker.message()) for kind in ("plain", "own") for _ in range(10)]
        self.random.shuffle(rows)
        direct = Talk(self.server.port, "alice", "secret")
        behind = Talk(self.proxy.imap_port, "alice", "secret")
        extras = [(" ".join(self.random.sample(LETTERS, self.random.randint(0, 2))), self.random.choice(DATES))
                  for _ in rows]
        for number, ((kind, message), (flags, date)) in enumerate(zip(rows, extras)):
            if number == len(rows) // 2 and has_signing_key:
                self.take_signing_key()
            talk = behind if kind == "own" else direct
            talk.append("INBOX", message, b'(%s) "%s"' % (flags.encode(), date.encode()))
        self.check_own(direct, [b"%d" % number for number, (kind, _) in enumerate(rows, 1) if kind == "own"],
                       has_signing_key)
        views = self.views(behind, len(rows))
        for (kind, message), view, extra in zip(rows, views, extras):
            if kind != "foreign" and view != message:
                raise AssertionError("%s: %r came back as %r\n%s" % (kind, message, view[:600], self.proxy.log()))
            self.check_sealed(kind, message, view)
        twin = Talk(self.server.port, "twin", "secret")
        for view, (flags, date) in zip(views, extras):
            twin.append("INBOX", view, b'(%s) "%s"' % (flags.encode(), date.encode()))
        self.mailed = [message for kind, message in rows if kind == "own"][:40]
        for talk in (behind, twin):
            talk.command(b"CREATE Other")
            # Dovecot 2.3.19 announces a keyword that nobody has when it is searched for, if it comes to that.
            talk.append("Other", self.mailed[0], b'($Forwarded Junk) "%s"' % DATES[0].encode())
            # Whatever was recent is so no more.
            talk.command(b"SELECT INBOX")
            talk.command(b"UNSELECT")
        self.words = self.vocabulary(views)
        for talk in (direct, behind, twin):
            talk.close()

    @staticmethod
    def check_own(direct, numbers, has_signing_key):
        """What was saved is sealed, in both formats or in the one."""
        direct.command(b"EXAMINE INBOX")
        untagged, _ = direct.command(b"FETCH %s (BODY.PEEK[HEADER.FIELDS (Content-Type)])" % b",".join(numbers))
        kinds = {re.search(rb"(?i)(pgp-encrypted|[a-z]*enveloped-data)", text).group(1)
                 for text in untagged if b" FETCH " in text}
        direct.command(b"UNSELECT")
        wanted = {b"enveloped-data"} | ({b"pgp-encrypted"} if has_signing_key else set())
        if kinds != wanted:
            raise AssertionError("saved as %s" % kinds)

    @staticmethod
    def views(talk, count):
        talk.command(b"SELECT INBOX")
        untagged, _ = talk.command(b"FETCH 1:* (BODY.PEEK[])")
        views = []
        for response in untagged:
            match = re.match(rb"\* (\d+) FETCH \(BODY\[\] \{(\d+)\}\r\n", response)
            if match:
                views.append(response[match.end():match.end() + int(match.group(2))])
        if len(views) != count:
            raise AssertionError("%d views of %d messages" % (len(views), count))
        return views

    @staticmethod
    def check_sealed(kind, message, view):
        if kind == "foreign" and not view.startswith(b"Privyseal-Verdict: "):
            raise AssertionError("no verdict on %r, but %r" % (message[:3000], view[:3000]))

    @staticmethod
    def vocabulary(views):
        found = set()
        for view in views:
            found.update(re.findall(rb"[A-Za-z]{3,12}", view)[:60])
        return sorted(found)


def normal(response):
    """What two servers cannot say alike: times taken, and the lives of mailboxes."""
    if b"INPROGRESS" in response[:40]:
        return None
    if not response.startswith(b"*") or re.match(rb"\* (OK|NO|BAD)", response):
        response = re.sub(rb" \([\d.]+ \+ [\d.]+( \+ [\d.]+)? secs\)", b"", response)
        response = re.sub(rb"(UIDVALIDITY|APPENDUID|COPYUID|HIGHESTMODSEQ) \d+", rb"\1 N", response)
    if response.startswith(b"BAD"):
        return b"BAD"
    if response.startswith(b"* STATUS"):
        response = re.sub(rb"(UIDVALIDITY|HIGHESTMODSEQ) \d+", rb"\1 N", response)
    return response


def answers(talk, command):
    untagged, tagged = talk.command(command, check=False)
    return [text for text in map(normal, untagged) if text is not None] + [normal(tagged)]


# ---- commands by chance ----

class Chance:
    """Commands as mail programs never mix them."""

    def __init__(self, pair, seed):
        self.pair, self.random = pair, random.Random(seed)
        self.box = b"INBOX"

    def pick(self, *choices):
        return self.random.choice(choices)

    def some(self, choices, least=1, most=3):
        return self.random.sample(choices, self.random.randint(least, min(most, len(choices))))

    def numbers(self):
        """A sequence set; now and then one with numbers that do not exist (UIDs may)."""
        top = self.random.choice((5, 50, 300))
        parts = []
        for _ in range(self.pick(1, 1, 2, 3)):
            first = self.random.randint(1, top)
            parts.append(self.pick(b"%d" % first, b"%d:%d" % (first, first + self.random.randint(0, 9)), b"*"))
        return b",".join(parts)

    def part(self):
        number = b".".join(b"%d" % self.pick(1, 1, 1, 2, 2, 3, 4) for _ in range(self.pick(1, 1, 1, 2, 2, 3)))
        return number + self.pick(b"", b"", b".MIME", b".HEADER", b".TEXT", b".HEADER.FIELDS (From Subject)")

    def section(self):
        return self.pick(b"", b"HEADER", b"TEXT", self.part(), self.part(), self.part(), self.fields())

    def fields(self):
        names = b" ".join(name.encode() if self.random.random() < 0.8 else b'"%s"' % name.upper().encode()
                          for name in self.some(FIELDS, 1, 4))
        return self.pick(b"HEADER.FIELDS", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT") + b" (%s)" % names

    def partial(self, section):
        # Dovecot 2.3.19 itself answers wrongly for pieces of HEADER.FIELDS that do not begin at 0: its own pieces, put
        # together, are not its whole.
        begun = (b"", b"", b"", b"<0.100>", b"<0.1>")
        return self.pick(*begun, *((b"<17.333>", b"<100000.5>", b"<50.65536>") if b"FIELDS" not in section else ()))

    def section_item(self):
        section = self.section()
        return self.pick(b"BODY", b"BODY.PEEK", b"BODY.PEEK") + b"[%s]" % section + self.partial(section)

    def item(self):
        return self.pick(b"UID", b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY", b"BODYSTRUCTURE",
                         b"RFC822", b"RFC822.HEADER", b"RFC822.TEXT", *[self.section_item() for _ in range(8)])

    def fetch(self):
        items = self.pick(b"ALL", b"FULL", b"FAST", *[
            b"(%s)" % b" ".join(self.item() for _ in range(self.random.randint(1, 5))) for _ in range(9)], self.item())
        return self.pick(b"", b"UID ") + b"FETCH %s %s" % (self.numbers(), items)

    def word(self):
        text = self.pick(self.random.choice(self.pair.words), self.random.choice(self.pair.words)[:3],
                         self.random.choice(shapes.WORDS).encode(), b"absent-from-all")
        if self.random.random() < 0.2:
            text = text.swapcase()
        if text.isascii() and not re.search(rb'["\\]', text):
            return b'"%s"' % text
        return b"{%d+}\r\n%s" % (len(text), text)

    def key(self, depth=0):
        if depth < 3 and self.random.random() < 0.3:
            key, other = self.key(depth + 1), self.key(depth + 1)
            # Dovecot 2.3.19 puts several sizes or dates under OR and NOT together wrongly: of OR NOT LARGER 1000 NOT
            # LARGER 2000 it finds too few, of NOT OR SINCE 20-Nov-2026 SINCE 2-Feb-2004 too many; and nothing of
            # OR SEEN NOT (SEEN TO "x"), which is all.
            is_doubtful = [re.search(rb"LARGER|SMALLER|SENT|SINCE|BEFORE|ON |YOUNGER|OLDER", text)
                           for text in (key, other)]
            if key in other or other in key:
                return key
            denied = key if is_doubtful[0] else b"NOT " + key
            both = b"(%s %s)" % (key, other)
            return self.pick(denied, both if all(is_doubtful) else b"OR %s %s" % (key, other), both)
        day = self.pick(b"1-Jan-1998", b"20-Nov-2026", b"2-Feb-2004", b"31-Dec-2025", b"17-Jul-1996")
        return self.pick(
            *[name + b" " + self.word() for name in (b"BODY", b"TEXT", b"SUBJECT", b"FROM", b"TO", b"CC", b"BCC")],
            b"HEADER %s %s" % (self.random.choice(OTHER_FIELDS).encode(), self.pick(b'""', self.word())),
            b"HEADER Privyseal-Verdict " + self.pick(b'""', b"good"),
            b"LARGER %d" % self.pick(100, 1000, 2000, 5000), b"SMALLER %d" % self.pick(300, 1000, 2500),
            *[name + b" " + day for name in (b"SENTBEFORE", b"SENTON", b"SENTSINCE", b"BEFORE", b"ON", b"SINCE")],
            b"SEEN", b"UNSEEN", b"FLAGGED", b"UNDELETED", b"ALL", b"KEYWORD Junk", b"UNKEYWORD $Forwarded", b"DRAFT",
            b"UID " + self.numbers(), self.numbers(), b"YOUNGER 100000", b"OLDER 1000000")

    def search(self):
        options = self.pick(b"", b"", b"", b"RETURN () ", b"RETURN (MIN MAX COUNT) ", b"RETURN (ALL) ",
                            b"RETURN (COUNT) ")
        return self.pick(b"", b"UID ") + b"SEARCH " + options + b"CHARSET UTF-8 " + b" ".join(
            self.key() for _ in range(self.pick(1, 1, 2)))

    def store(self):
        flags = b" ".join(flag.encode() for flag in self.some(LETTERS, 0, 3))
        return self.pick(b"", b"UID ") + b"STORE %s %sFLAGS%s (%s)" % (
            self.numbers(), self.pick(b"+", b"-", b""), self.pick(b"", b".SILENT"), flags)

    def copy(self):
        other = b"Other" if self.box == b"INBOX" else b"INBOX"
        return self.pick(b"", b"UID ") + self.pick(b"COPY", b"COPY", b"MOVE") + b" %s %s" % (
            b"%d" % self.random.randint(1, 60), other)

    def append(self):
        message = self.random.choice(self.pair.mailed)
        flags = b" ".join(flag.encode() for flag in self.some(LETTERS[:3], 0, 2))
        return b'APPEND %s (%s) "%s" {%d+}\r\n%s' % (self.pick(b"INBOX", b"Other"), flags,
                                                    self.random.choice(DATES).encode(), len(message), message)

    def select(self):
        self.box = self.pick(b"INBOX", b"INBOX", b"Other")
        return b"SELECT " + self.box

    def command(self):
        roll = self.random.random()
        if roll < 0.50:
            return self.fetch()
        if roll < 0.80:
            return self.search()
        if roll < 0.88:
            return self.store()
        if roll < 0.91:
            return self.copy()
        if roll < 0.94:
            return self.append()
        if roll < 0.95:
            return self.pick(b"EXPUNGE", b"UID EXPUNGE %s" % self.numbers())
        if roll < 0.97:
            return self.select()
        return self.pick(b"NOOP", b"CHECK", b"STATUS Other (MESSAGES UIDNEXT UNSEEN)", b'LIST "" *', b"IDLE")
