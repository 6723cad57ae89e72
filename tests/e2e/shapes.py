"""Messages of every shape, made by chance from a seed: what a mailbox holds after years.

All have CRLF line ends. The words in them are few, so that searches find something.
"""
import base64
import quopri
import random
import re

WORDS = ("rabbit", "Hole", "queen", "TEA", "Grüße", "café", "naïve", "Straße", "ПРИВЕТ", "日本語", "clock", "hatter",
         "dormouse", "x=y", "[tag]", "a\"b", "back\\slash", "ｗｉｄｅ", "ﬁsh", "İstanbul", "one two", "cheshire")
NAMES = ("Alice Liddell", "Bob", "Jörg Müller", "Carroll, Lewis", "O'Hara", "")
CHARSETS = ("us-ascii", "utf-8", "iso-8859-1", "windows-1252", "utf-8", "iso-8859-15", "koi8-r", "x-unknown")
TYPES = ("text/plain", "text/html", "application/octet-stream", "image/png", "application/pdf", "text/calendar",
         "message/delivery-status", "text/x-diff")
DAYS = ("Fri, 20 Nov 2026 12:00:00 +0000", "Thu, 01 Jan 1998 23:59:59 -1200", "20 Nov 2026 01:02:03 +0200",
        "Mon, 2 Feb 2004 00:00:00 GMT", "nonsense", "Wed, 31 Dec 2025 23:30:00 -0500 (EST)")


def split(message):
    """Header fields that are of MIME, the others, and the body."""
    header, body = message.split(b"\r\n\r\n", 1)
    fields = re.findall(rb"[^\r\n]+(?:\r\n[ \t][^\r\n]*)*", header)
    mime = [field for field in fields if re.match(rb"(?i)content-|mime-version", field)]
    return (b"".join(field + b"\r\n" for field in mime if not field.lower().startswith(b"mime-version")),
            b"".join(field + b"\r\n" for field in fields if field not in mime), body)


class Maker:
    """Makes messages; the same seed makes the same ones."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.count = 0

    def chance(self, share):
        return self.random.random() < share

    def words(self, least=1, most=12):
        return " ".join(self.random.choice(WORDS) for _ in range(self.random.randint(least, most)))

    def ascii_words(self, least=1, most=6):
        return " ".join(self.random.choice([word for word in WORDS if word.isascii()])
                        for _ in range(self.random.randint(least, most)))

    def encoded(self, text):
        """Text for a header field: as it is, as encoded words of either kind, or as bare bytes."""
        if text.isascii() and self.chance(0.7):
            return text.encode()
        kind = self.random.randrange(4)
        if kind == 0:
            return b"=?UTF-8?Q?" + quopri.encodestring(text.encode(), header=True, quotetabs=True).replace(
                b"=\n", b"").replace(b"?", b"=3F") + b"?="
        if kind == 1:
            return b"=?utf-8?b?" + base64.b64encode(text.encode()) + b"?="
        if kind == 2:
            half = len(text) // 2
            return b"\r\n ".join(b"=?UTF-8?B?" + base64.b64encode(piece.encode()) + b"?="
                                 for piece in (text[:half], text[half:]) if piece)
        return text.encode()

    def mailbox(self):
        name = self.random.choice(NAMES)
        address = ("%s@%s" % (self.random.choice(("alice", "bob", "the.queen", '"odd one"')),
                              self.random.choice(("example.org", "example.net", "EXAMPLE.com")))).encode()
        if not name:
            return self.random.choice((address, b"<" + address + b">"))
        if not name.isascii():
            return self.encoded(name) + b" <" + address + b">"
        if "," in name or self.chance(0.3):
            return b'"' + name.encode() + b'" <' + address + b">"
        return name.encode() + b" <" + address + b">"

    def mailboxes(self):
        listed = [self.mailbox() for _ in range(self.random.choice((1, 1, 1, 2, 3)))]
        text = self.random.choice((b", ", b",\r\n ", b",")).join(listed)
        return b"friends: " + text + b";" if self.chance(0.08) else text

    def header(self):
        self.count += 1
        fields = [(b"From", b"Bob <bob@example.net>"), (b"To", self.mailboxes()),
                  (b"Subject", self.encoded(self.words(1, 8))), (b"Date", self.random.choice(DAYS).encode()),
                  (b"Message-ID", b"<%d.%d@example.org>" % (self.count, self.random.randrange(10 ** 9)))]
        for name, share in ((b"Cc", 0.3), (b"Reply-To", 0.2), (b"Sender", 0.1), (b"Bcc", 0.1)):
            if self.chance(share):
                fields.append((name, self.mailboxes()))
        if self.chance(0.3):
            fields.append((b"In-Reply-To", b"<1@example.org>"))
        if self.chance(0.3):
            fields.append((b"X-Odd", self.encoded(self.words())))
        if self.chance(0.3):
            fields.append((b"X-Empty", b""))
        if self.chance(0.2):
            fields.append((b"Received", b"from a by b;\r\n\t%s" % self.random.choice(DAYS).encode()))
        if self.chance(0.2):
            self.random.shuffle(fields)
        if self.chance(0.1):
            fields = [field for field in fields if field[0] != self.random.choice((b"Subject", b"Date", b"To"))]
        return b"".join(name + b":" + (b" " if self.chance(0.95) else b"") + value + b"\r\n" for name, value in fields)

    def text(self):
        lines = [self.words() for _ in range(self.random.randint(0, 12))]
        return "\r\n".join(lines) + ("\r\n" if self.chance(0.9) else "")

    def leaf(self):
        """Header fields and body of a part that holds no others."""
        kind = self.random.choice(TYPES) if self.chance(0.6) else "text/plain"
        charset = self.random.choice(CHARSETS)
        text = self.text() if kind.startswith(("text", "message")) else ""
        if kind == "text/html":
            text = "<html><body><p>%s</p></body></html>\r\n" % text
        try:
            body = text.encode(charset)
        except (LookupError, UnicodeEncodeError):
            charset, body = "utf-8", text.encode()
        if not text:
            body = self.random.randbytes(self.random.choice((0, 1, 57, 300, 2000)))
        encoding = self.random.choice(("7bit", "8bit", "quoted-printable", "base64", None))
        if encoding in ("7bit", None, "8bit") and (not text or (encoding != "8bit" and not body.isascii())):
            encoding = "base64"
        if encoding == "base64":
            body = base64.encodebytes(body).replace(b"\n", b"\r\n")
        elif encoding == "quoted-printable":
            # It leaves some bare CRs as they are, which servers store as they like.
            body = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\r", b"=0D").replace(b"\n", b"\r\n")
        fields = b""
        if kind != "text/plain" or self.chance(0.8):
            fields += b"Content-Type: %s" % kind.encode()
            if kind.startswith("text"):
                fields += b"; charset=%s" % (b'"%s"' % charset.encode() if self.chance(0.5) else charset.encode())
            if self.chance(0.3):
                fields += b';\r\n\tname="%s"' % self.random.choice((b"a.txt", b"Gr=FC=DFe", b"x y.bin"))
            fields += b"\r\n"
        if encoding:
            fields += b"Content-Transfer-Encoding: %s\r\n" % encoding.encode()
        if self.chance(0.3):
            fields += b"Content-Disposition: %s; filename=\"%s\"\r\n" % (
                self.random.choice((b"attachment", b"inline")), self.random.choice((b"a.txt", b"b c.pdf")))
        if self.chance(0.1):
            fields += b"Content-ID: <part.%d@example.org>\r\n" % self.random.randrange(1000)
        if self.chance(0.1):
            fields += b"Content-Language: en, de\r\n"
        if self.chance(0.1):
            fields += b"Content-Description: %s\r\n" % self.encoded(self.words(1, 3))
        return fields, body

    def part(self, depth):
        """Header fields and body of any part."""
        if depth >= 4 or self.chance(0.55):
            return self.leaf()
        if self.chance(0.2):
            inner = self.message(depth + 1)
            return b"Content-Type: message/rfc822\r\n", inner
        boundary = b"b%d" % self.random.randrange(10 ** 9)
        subtype = self.random.choice((b"mixed", b"alternative", b"related", b"digest", b"report", b"mixed"))
        body = self.random.choice((b"", b"a preamble\r\n", b"\r\n"))
        for _ in range(self.random.randint(1, 4)):
            if subtype == b"digest":
                fields, inner = b"", self.message(depth + 1)
            else:
                fields, inner = self.part(depth + 1)
            body += b"--" + boundary + b"\r\n" + fields + b"\r\n" + inner
            if not inner.endswith(b"\r\n") or self.chance(0.5):
                body += b"\r\n"
        if self.chance(0.95):
            body += b"--" + boundary + b"--\r\n"
        if self.chance(0.2):
            body += b"an epilogue\r\n"
        return b"Content-Type: multipart/%s; boundary=\"%s\"\r\n" % (subtype, boundary), body

    def message(self, depth=0):
        fields, body = self.part(depth)
        version = b"MIME-Version: 1.0\r\n" if fields else b""
        return self.header() + version + fields + b"\r\n" + body

    def short_text(self):
        """A message whose only body is plain text in ASCII."""
        return self.header() + b"\r\n" + (self.ascii_words() + "\r\n").encode() * self.random.randint(1, 5)
