"""SEARCH as Dovecot answers it and as privyseal does, over the same messages.

Messages are made by chance from what mail is made of: encoded words, charsets, transfer encodings, multiparts,
enclosed messages, broken ones of each. What is searched for is mostly cut out of them, in other case and forms. The
seed is printed when something differs; SEARCH_SEED sets it, SEARCH_COUNT the number of searches.
"""
import base64
import os
import quopri
import random
import subprocess
import sys
import unicodedata
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import dovecot  # noqa: E402

DUMP = os.path.join(os.environ.get("BUILD", "build"), "tests", "search_dump")
MESSAGES, SEARCHES = 250, 1000

WORDS = ("café Straße ÄRGER naïve İstanbul ılık ΣΊΣΥΦΟΣ σίσυφος Привет мир Việt ấn Ⅷ ﬁle ½ ㎏ 日本語 メール 한국어 "
         "각 😀 걁 alpha Beta GAMMA delta e\u0301te\u0301 Ångström ǆ Ǆ ǅ ŉ ß ẞ ÿ Ÿ µ K Å ſ").split()
CHARSETS = ("utf-8", "UTF-8", "iso-8859-1", "ISO-8859-15", "windows-1252", "koi8-r", "iso-2022-jp", "shift_jis",
            "gb18030", "euc-kr", "us-ascii", "big5", "x-unknown", "")
CODECS = {"x-unknown": "utf-8", "": "utf-8"}
ENCODINGS = ("7bit", "8bit", "binary", "quoted-printable", "base64", "BASE64", "x-uuencode", "")
DATES = ("Fri, 21 Nov 1997 09:55:06 -0600", "21 Nov 97 23:59 GMT", "Thu, 1 Jan 1970 00:00:00 +0000",
         "Sat, 21 Nov 2026 00:30:00 +1400", "Fri, 20 Nov 2026 23:30:00 -1200", "1 Feb 2020 1:02",
         "29 Feb 2020 10:00:00 Z", "29 Feb 2021 10:00:00 +0000", "31 Dec 2021 23:59:60 +0000",
         "31 Dec 2021 25:00:00 +0000", "yesterday", "",
         "Mon (Moon), 7 Mar 2011 (March) 10.20.30 EST (comment)", "Mon 7 Mar 2011 10:20:30 +0000", "7-Mar-2011 10:20",
         "7 March 2011 10:20:30 +0000", "07 Mar 111 10:20:30", "Wed, 7 Mar 11 10:20:30 +9999", "7 Mar 2011",
         "7 Mar 2011 10")


def normal(text):
    return unicodedata.normalize("NFC", text)


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pick = self.random.choice
        self.texts = ["alpha", "beta", "From", "Subject", "text/plain", "boundary", "MIME"]

    def chance(self, part):
        return self.random.random() < part

    def phrase(self, count=4):
        text = " ".join(self.pick(WORDS) for _ in range(self.random.randint(1, count)))
        self.texts.append(text)
        return text

    def encoded(self, text, charset):
        """`text` in `charset`, as far as it can be."""
        return text.encode(CODECS.get(charset.lower(), charset), "replace")

    def word(self, text):
        charset = self.pick([c for c in CHARSETS if c])
        data = self.encoded(text, charset)
        if self.chance(0.5):
            body = base64.b64encode(data)
            if self.chance(0.05):
                body = body[:-1] + b"!"
            return b"=?%s?%s?%s?=" % (charset.encode(), self.pick((b"B", b"b")), body)
        body = b"".join(b"_" if b == 32 else b"=%02X" % b if b > 126 or b < 33 or chr(b) in "=?_" else b"%c" % b
                        for b in data)
        return b"=?%s?%s?%s?=" % (charset.encode(), self.pick((b"Q", b"q")), body)

    def text_value(self):
        """An unstructured value: words plain, raw or encoded, folded somewhere."""
        pieces = []
        for _ in range(self.random.randint(1, 5)):
            roll = self.random.random()
            text = self.phrase(3)
            if roll < 0.4:
                pieces.append(self.word(text))
            elif roll < 0.6:
                pieces.append(text.encode())
            elif roll < 0.65:
                pieces.append(self.encoded(text, "iso-8859-1"))
            elif roll < 0.7:
                pieces.append(self.pick((b"=?", b"=?utf-8?Q?", b"=?utf-8?X?abc?=", b"?=", b"=?utf-8?Q?a b?=",
                                         b"=?utf-8?Q??=")))
            else:
                pieces.append(self.pick((b"alpha", b"Beta", b"GAMMA delta", b"[list] x", b"Re:")))
        return b"".join(piece + self.pick((b" ", b" ", b"  ", b"\r\n ", b"\r\n\t", b"\t", b"")) for piece in pieces)

    def mailbox(self):
        spec = self.pick((b"alice@example.org", b"Bob.Smith@EXAMPLE.com", b"\"quoted local\"@x.org",
                          b"carol@[127.0.0.1]",
                          b"nodomain", b"a@b (comment Name)", b"dave @ example . net", b"=@x"))
        roll = self.random.random()
        if roll < 0.3:
            return spec
        name = self.pick((b"Alice", b"\"Smith, Bob\"", b"Alice B. Carol", b"\"quo\\\"te\"", b"O'Brien",
                          self.word(self.phrase(2)),
                          self.word(self.phrase(1)) + b" " + self.word(self.phrase(1)), self.phrase(2).encode(),
                          b"\"" + self.word(self.phrase(1)) + b"\"", b"", b"(remark) Eve", b"a.b"))
        if roll < 0.95:
            return name + self.pick((b" ", b"", b"\r\n ")) + b"<" + spec + b">"
        return self.pick((b"<@route.net,@b:x@y.org>", b"broken <x@", b"<>", b",", b"x@y z", b"\"open", b"(open",
                          b"<a@b> junk"))

    def addresses(self):
        listed = self.pick((b", ", b",", b",\r\n\t")).join(self.mailbox() for _ in range(self.random.randint(1, 3)))
        if self.chance(0.15):
            name = self.pick((b"Team", b"\"The Team\"", b""))
            return name + b": " + self.pick((listed, b"")) + self.pick((b";", b";", b""))
        return listed

    def content_type(self, charset):
        kind = self.pick((b"text/plain", b"text/html", b"TEXT/PLAIN", b"text/calendar", b"application/octet-stream",
                          b"message/delivery-status", b"image/png", b"text", b"text/", b"message/partial; id=x"))
        if not charset:
            return kind
        return kind + self.pick((b"; charset=%s", b"; charset=\"%s\"",
                                 b";\r\n\tcharset=%s; format=flowed")) % charset.encode()

    def leaf(self):
        charset, encoding = self.pick(CHARSETS), self.pick(ENCODINGS)
        lines = [self.phrase(6) for _ in range(self.random.randint(0, 6))]
        body = b"\r\n".join(self.encoded(line, charset) for line in lines) + self.pick((b"", b"\r\n", b"\r\n\r\n"))
        if encoding.lower() == "base64":
            body = base64.encodebytes(body).replace(b"\n", b"\r\n")
            if self.chance(0.15) and body:
                at = self.random.randrange(len(body))
                body = body[:at] + self.pick((b"!", b"=", b"\r\n\r\n", b"-", b" ")) + body[at:]
        elif encoding == "quoted-printable":
            body = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
            if self.chance(0.2):
                at = self.random.randrange(len(body) + 1)
                body = body[:at] + self.pick((b"=", b"=4", b"=zz", b"=\r\n", b"= \r\n", b" \r\n")) + body[at:]
        header = b""
        # Dovecot converts the last byte of a part in the next part's charset if it is none in its own.
        if charset not in ("", "us-ascii") or self.chance(0.7):
            header += b"Content-Type: " + self.content_type(charset) + b"\r\n"
        if encoding:
            header += b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n"
        if self.chance(0.2):
            header += b"Content-Description: " + self.text_value().rstrip() + b"\r\n"
        return header, body

    def part(self, depth=0):
        roll = self.random.random()
        if roll < 0.6 or depth > 3:
            return self.leaf()
        if roll < 0.75:
            return b"Content-Type: message/rfc822\r\n", self.message(depth + 1)
        boundary = b"b%d" % self.random.randrange(10 ** 6)
        body = self.pick((b"", b"preamble alpha\r\n"))
        kind = self.pick((b"mixed", b"alternative", b"digest", b"signed"))
        for _ in range(self.random.randint(1, 3)):
            # A message may not be encoded; Dovecot reads an encoded one as if it were not, privyseal as no message.
            header, inner = self.part(depth + 1) if kind != b"digest" else (b"", self.message(depth + 1))
            body += b"--" + boundary + b"\r\n" + header + b"\r\n" + inner + b"\r\n"
        body += self.pick((b"--" + boundary + b"--\r\n", b"--" + boundary + b"--\r\nepilogue beta\r\n", b""))
        return b"Content-Type: multipart/" + kind + b"; boundary=\"" + boundary + b"\"\r\n", body

    def message(self, depth=0):
        fields = []
        if self.chance(0.9):
            fields.append(b"Date: " + self.pick(DATES).encode())
        for name in (b"From", b"To", b"CC", b"bcc", b"Reply-To"):
            if self.chance(0.6):
                fields.append(name + self.pick((b": ", b":", b" : ", b":  ")) + self.addresses())
        if self.chance(0.9):
            fields.append(b"Subject: " + self.pick((b"", b"  ")) + self.text_value())
        for _ in range(self.random.randint(0, 3)):
            fields.append(self.pick((b"X-Note", b"Comments", b"X-Empty", b"Received")) + b": " +
                          self.pick((self.text_value(), b"", b" ", b"plain")))
        if self.chance(0.05):
            fields.append(b"no field at all")
        self.random.shuffle(fields)
        header, body = self.part(depth)
        return b"".join(field.rstrip(b"\r\n\t ") + b"\r\n" for field in fields) + header + b"\r\n" + body

    # ---- searches ----

    def needle(self):
        text = self.pick(self.texts)
        if self.chance(0.5):
            at = self.random.randrange(len(text))
            text = text[at:at + self.random.randint(1, 12)]
        form = self.pick((str, str, str.upper, str.lower, str.swapcase, str.title, normal,
                          lambda s: unicodedata.normalize("NFD", s), lambda s: unicodedata.normalize("NFKD", s)))
        text = form(text)
        if self.chance(0.05):
            text = self.pick(("alpha", "<", "@", "example", "\"", "smith", "MISSING", ";", "=?", "e", " ", "",
                              "te\r\n"))
        return text

    def string(self, data):
        return b"{%d}\r\n%s" % (len(data), data)

    def leaf_key(self, alone):
        roll = self.random.random()
        if roll < 0.1:
            return self.pick((b"SENTBEFORE", b"SENTON", b"SENTSINCE")) + b" " + self.pick(
                (b"21-Nov-1997", b"1-Jan-1970", b"2-Jan-1970", b"20-Nov-2026", b"21-Nov-2026", b"29-Feb-2020",
                 b"1-Mar-2021",
                 b"7-Mar-2011", b"\" 7-Mar-2011\"", b"08-Mar-2011", b"31-Feb-2011", b"31-Feb-1990"))
        # Two sizes under NOT are made one, and wrongly.
        if roll < 0.15 and alone:
            return self.pick((b"LARGER", b"SMALLER")) + b" %d" % self.random.randint(0, 3000)
        needle = self.string(self.needle().encode())
        if roll < 0.3:
            names = (b"X-NOTE", b"comments", b"Content-Type", b"Date", b"Received", b"X-Empty", b"Nope")
            # Beside TO Dovecot looks for HEADER To in the form of whichever comes first.
            names += (b"Subject", b"from", b"To") * 2 if alone else ()
            return b"HEADER " + self.pick(names) + b" " + needle
        names = (b"BODY", b"BODY", b"TEXT", b"TEXT", b"SUBJECT", b"SUBJECT", b"FROM", b"TO", b"CC", b"BCC")
        return self.pick(names) + b" " + needle

    def key(self, depth=0):
        roll = self.random.random()
        if roll < 0.8 or depth > 3:
            return self.leaf_key(depth == 0)
        if roll < 0.87:
            return b"NOT " + self.key(depth + 1)
        if roll < 0.94:
            return b"OR " + self.key(depth + 1) + b" " + self.key(depth + 1)
        return b"(" + self.key(depth + 1) + b" " + self.key(depth + 1) + b")"


def short(numbers):
    return numbers if numbers is None or len(numbers) < 6 else "%s and %d more" % (numbers[:6], len(numbers) - 6)


def ask_dovecot(messages, searches):
    """What is found by each, as a list of numbers; None where it is refused."""
    answers = []
    with dovecot.Dovecot(options="mail_save_crlf = yes\n") as server:
        server.deliver("alice", "INBOX", messages)
        with server.talk() as talk:
            talk.command(b"SELECT INBOX")
            for search in searches:
                untagged, tagged = talk.command(b"SEARCH " + search.replace(b"}\r\n", b"+}\r\n"), check=False)
                found = [line for line in untagged if line.startswith(b"* SEARCH")]
                answers.append([int(n) for n in found[0].split()[2:]] if tagged.startswith(b"OK") else None)
    return answers


def ask_privyseal(messages, searches):
    records = [b"message %d\n%s" % (len(message), message) for message in messages]
    records += [b"search %d\n%s" % (len(search), search) for search in searches]
    done = subprocess.run([DUMP], input=b"".join(records), stdout=subprocess.PIPE, check=True, timeout=120)
    lines = done.stdout.decode().split("\n")[:-1]
    return [None if any(c.isalpha() for c in line) else [int(n) for n in line.split()] for line in lines]


class SearchTest(dovecot.DovecotTest):
    def compare(self, messages, searches, seed):
        theirs, ours = ask_dovecot(messages, searches), ask_privyseal(messages, searches)
        self.assertEqual(len(theirs), len(ours))
        wrong = []
        for search, their, our in zip(searches, theirs, ours):
            if their != our:
                differ = sorted(set(their or []) ^ set(our or []))
                wrong.append("%r: Dovecot %s, privyseal %s, differing in %s:\n%s" % (
                    search, short(their), short(our), short(differ), b"\n".join(
                        messages[n - 1][:2000] for n in differ[:1]).decode(errors="replace")))
        self.assertFalse(wrong, "seed %s: %d of %d searches differ\n%s" % (
            seed, len(wrong), len(searches), "\n----\n".join(wrong[:int(os.environ.get("SEARCH_SHOW", "3"))])))
        return theirs

    def test_by_chance(self):
        seed = int(os.environ.get("SEARCH_SEED", "3"))
        count = int(os.environ.get("SEARCH_COUNT", SEARCHES))
        maker = Maker(seed)
        messages = [maker.message() for _ in range(MESSAGES)]
        searches = [maker.key() for _ in range(count)]
        answers = self.compare(messages, searches, seed)
        # A comparison of nothing with nothing would prove nothing.
        telling = sum(1 for answer in answers if answer and len(answer) < len(messages))
        self.assertGreater(telling, count // 2)


if __name__ == "__main__":
    unittest.main()
