"""Random messages, many of them broken, and what to ask of them in FETCH: for comparing what servers say of content.

`make` gives (message, items). Nothing depends on anything but the random source. Left out is what Dovecot itself
answers in two ways: NUL; pieces from within some fields, or of a message that it keeps with bare LFs or that holds bare
CRs (it counts wrong); fields of a header that has no end.
"""
import re

WORDS = ["word", "a.b", "=?utf-8?q?caf=C3=A9?=", "=?utf-8?q?two_words?=", "\"a b\"", "\"q\\\"q\"",
         "\"back\\\\slash\"", "(comment)", "((nested) comment)", "(esc\\)aped)", "caf\u00e9", "x" * 40, "'", "a=b",
         "\\", "\"", "(", ")", "<", ">", ",", ";", ":", ".", "..", "@", "[", "]", "?", "/", "=", "*", "%20", "{3}",
         "NIL", " ", "  ", "\t", "\r\n ", "\r\n\t", "a\rb"]
LOCALS = ["alice", "a.b", "a . b", "\"a b\"", "\"a\\\"b\"", "x..y", ".x", "x.", "caf\u00e9", "a+b", "alice(c)",
          "\"\""]
DOMAINS = ["example.org", "e . org", "[127.0.0.1]", "[IPv6:::1]", "caf\u00e9.example", "x.", ".x", "a..b", "(c)d",
           "d(c)", "[x", "[a\\]b]", ""]
NAMES = ["", "Alice", "Alice Liddell", "\"Liddell, Alice\"", "=?utf-8?q?Ali=C3=A7e?=", "=?utf-8?q?a?= =?utf-8?q?b?=",
         "A. L.", "\"A \\\"B\\\" C\"", "caf\u00e9", "\"caf\u00e9\"", "a\tb", "a  b", "\"a  b\"", "\"\"", "a\r\n b",
         "\"a\r\n b\"", "(c) a (d)", "a'b"]
ROUTES = ["", "", "", "", "@r:", "@r1,@r2:", "@r1, ,@r2:", "@:", "@r"]
TYPES = ["text/plain", "text/html", "TEXT/Plain", "application/octet-stream", "image/png", "text", "nonsense",
         "message", "x/", "/x", "", " ", "text / plain", "text(c)/html(d)", "text/plain/x", "message/rfc822",
         "Message/RFC822", "message/global", "message/partial", "message/delivery-status",
         "application/pgp-signature", "caf\u00e9/x", "text/calendar", "x-a.b/c+d"]
PARAMS = ["charset=utf-8", "charset=\"us-ascii\"", "CHARSET=x", "name=a", "name=\"a b.txt\"", "name=\"a\\\"b\\\\c\"",
          "name=caf\u00e9", "name*=utf-8''caf%C3%A9", "name*0=a; name*1=b", "name*1=b; name*0=a",
          "name*0*=utf-8''a%20; name*1=b%; name*2*=c", "name*0=a; name*2=c", "name*x=a", "name**=a", "name*0**=a",
          "format=flowed", "x", "=y", "x=", "x==?utf-8?q?y?=", "x=y z", "x=\"y", "x=y=z", "x=a/b", " x = y ",
          "(c)x(d)=(e)y(f)", "x=<y>", "a*=1; b*=2; c*0=3; c*1=4; d*=5", "", " ", ";", "a=1; a=2; A=3",
          "boundary=other", "x=\"a\r\n b\"", "x\r\n =y", "NAME*0=q;name*1=r;name*0=s", "size=1", "x=(c)", "x=\"\"",
          "filename*01=a; filename*00=b", "z*4294967296=a", "k=" + "v" * 90]
ENCODINGS = ["7bit", "8bit", "binary", "base64", "quoted-printable", "BASE64", "x-other", "base64;", "(c) base64 (d)",
             "", "base64 x", "\"base64\""]
DISPOSITIONS = ["inline", "attachment", "Attachment", "form-data", "", "\"attachment\"", "a b", "(c)inline",
                "in/line"]
LANGUAGES = ["de", "en-GB, de", "de,en", "de en", "", ",", "de,", "\"de\"", "(c) de (d), fr", "d.e", "caf\u00e9"]
NUMBERS = ["1", "2", "3", "1.1", "1.2", "2.1", "2.2", "1.1.1", "1.2.1", "2.1.1", "1.1.1.1", "3.1", "4", "1.3", "9",
           "2.1.2.1"]
FIELDS = ["From To", "Subject", "DATE", "x-odd", "Content-Type", "Nothing", "Subject X-Odd Received",
          "Mime-Version Content-Type", "X"]
LINES = ["word", "From here", "--", "----", "--b", "--b1", "--b1x", "--b2--", "--b1-- x", ".", "", "", " ", "a\tb ",
         "caf\u00e9", "Subject: x", "x" * 90, "--b1 ", " --b1", "a\rb"]
ODD_FIELDS = ["X-Odd:y", "X-Odd: a\r\n b\r\n\tc", "Received: from x\r\n by y", "x-odd : z", "X: " + "y " * 60,
              "no field", "Subject", ": empty", "From someone", "X-Empty:", "X-Blank: "]
BOUNDARIES = ["b1", "b", "", "=_x y", "b1x", "b" * 75, "b" * 90, "b1--"]


class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.boundaries = 0

    def one(self, of):
        return self.rng.choice(of)

    def odds(self, of):
        return self.rng.randrange(of) == 0

    def words(self, most=6):
        blank = self.one([" ", " ", ""])
        return blank.join(self.rng.choices(WORDS, k=self.rng.randrange(most)))

    def mailbox(self):
        if self.odds(12):
            return self.words()
        spec = self.one(LOCALS) if self.odds(3) else "alice"
        spec += "" if self.odds(12) else "@" + (self.one(DOMAINS) if self.odds(3) else "example.org")
        if self.odds(3):
            return spec + self.one(["", "", " (Name)", " ()"])
        name = self.one(NAMES) + self.one([" ", " ", ""])
        return name + "<" + self.one(ROUTES) + spec + self.one([">"] * 9 + ["", " >", "> x"])

    def addresses(self):
        parts = []
        for _ in range(self.rng.randrange(4)):
            if self.odds(5):
                inside = ", ".join(self.mailbox() for _ in range(self.rng.randrange(3)))
                parts.append(self.one(NAMES) + ":" + inside + self.one([";", ";", ";", ""]))
            else:
                parts.append(self.mailbox())
        return self.one([", ", ",", ",\r\n ", " , "]).join(parts) + self.one(["", "", "", ",", " (c)", ", ,"])

    def fields(self):
        """Fields of a message's header."""
        out = []
        for name in ("From", "To", "Cc", "Bcc", "Sender", "Reply-To"):
            for _ in range(self.one([0, 1, 1, 1, 2] if name in ("From", "To") else [0, 0, 0, 1, 1, 2])):
                out.append(self.name(name) + self.one([" ", " ", "", "  ", "\r\n "]) + self.addresses())
        for name in ("Subject", "Date", "Message-ID", "In-Reply-To"):
            for _ in range(self.one([0, 1, 1, 1, 1, 2])):
                out.append(self.name(name) + self.one([" ", " ", "", "  ", "\r\n ", "\t"]) + self.words(8))
        if self.odds(3):
            out += self.rng.choices(ODD_FIELDS, k=3)
        self.rng.shuffle(out)
        return out

    def name(self, name):
        if self.odds(8):
            name = self.one([name.upper(), name.lower(), name + " ", name + "\t"])
        return name + ":"

    def params(self, boundary=None):
        found = ["; " + self.one(PARAMS) for _ in range(self.one([0, 0, 1, 1, 2, 3]))]
        if boundary is not None:
            quote = self.one(["", "\""])
            found.insert(self.rng.randrange(len(found) + 1) if self.odds(3) else 0,
                         self.one(["; ", ";", ";\r\n\t", " ; "]) +
                         self.one(["boundary=", "BOUNDARY=", "boundary = "]) + quote + boundary + quote)
        return "".join(found)

    def content_fields(self):
        """Fields of a part's header, but its type."""
        out = []
        if self.odds(3):
            out.append(self.name("Content-Transfer-Encoding") + " " + self.one(ENCODINGS))
        for _ in range(self.one([0, 0, 1, 1, 2])):
            out.append(self.name("Content-Disposition") + " " + self.one(DISPOSITIONS) + self.params())
        for name in ("ID", "Description", "MD5", "Location"):
            for _ in range(self.one([0, 0, 0, 1, 2])):
                out.append(self.name("Content-" + name) + self.one([" ", "", "  ", "\r\n "]) + self.words())
        for _ in range(self.one([0, 0, 0, 1, 2])):
            out.append(self.name("Content-Language") + " " + self.one(LANGUAGES))
        return out

    def body(self):
        return "\r\n".join(self.rng.choices(LINES, k=self.rng.randrange(6)))

    def multipart(self, depth):
        self.boundaries += 1
        boundary = self.one(["b%d" % self.boundaries] * 9 + BOUNDARIES)
        kind = "multipart/" + self.one(["mixed", "mixed", "alternative", "digest", "related", "Digest", "x", ""])
        text = self.body() + "\r\n" if self.odds(3) else ""
        for _ in range(self.one([0, 1, 2, 2, 3])):
            text += "--" + boundary + self.one(["", "", "", "", " ", "x", "-", " \t"]) + "\r\n"
            text += self.entity(depth + 1, False) + ("\r\n" if not self.odds(9) else "")
        if not self.odds(5):
            after = self.one(["\r\n", "\r\n", "", " \r\n", "x\r\n", "\r\n" + self.body() + "\r\n"])
            text += "--" + boundary + "--" + after
        return kind + self.params(boundary if not self.odds(15) else None), text

    def entity(self, depth, is_message):
        """Header and body."""
        fields = self.fields() if is_message else []
        fields += self.content_fields() if self.odds(2) else []
        if self.odds(2) and is_message:
            fields.append("MIME-Version: 1.0")
        kind, text = None, self.body()
        choice = self.rng.randrange(10) if depth < 5 else 9
        if choice < (5 if depth == 0 else 2):
            kind, text = self.multipart(depth)
        elif choice < 6:
            kind = "message/" + self.one(["rfc822"] * 5 + ["RFC822", "global", "rfc822 x"])
            text = self.entity(depth + 1, True)
            kind += self.params() if self.odds(3) else ""
        elif choice < 9 and not self.odds(4):
            kind = self.one(TYPES) + self.params()
            text = self.entity(depth + 1, True) if "rfc822" in kind.lower() else text
        if kind is not None:
            fields.insert(self.rng.randrange(len(fields) + 1),
                          self.name("Content-Type") + self.one([" ", "", "\r\n "]) + kind)
            if self.odds(20):
                fields.append("Content-Type: " + self.one(TYPES))
        header = "".join(field + "\r\n" for field in fields)
        if self.odds(25):
            return header if self.odds(2) else header[:-2]
        return header + "\r\n" + text + ("\r\n" if text and not self.odds(5) else "")

    def message(self):
        whole = self.entity(0, True).encode()
        if self.odds(8):
            whole = whole[:self.rng.randrange(len(whole) + 1)]
        if self.odds(12):
            whole = whole.replace(b"\xc3\xa9", b"\xe9")
        ends = self.one([[b"\r\n"], [b"\r\n"], [b"\n"], [b"\r\n", b"\n"]])
        pieces = whole.split(b"\r\n")
        return b"".join(piece + self.one(ends) for piece in pieces[:-1]) + pieces[-1]

    def section(self, message):
        """(what the answer is called, what to ask for)"""
        number = self.one(NUMBERS) if self.odds(4) else self.one(NUMBERS[:8])
        text = self.one(["", "", "MIME", "MIME", "HEADER", "TEXT", "HEADER.FIELDS (%s)" % self.one(FIELDS),
                         "HEADER.FIELDS.NOT (%s)" % self.one(FIELDS)])
        if not re.search(rb"\n\r?\n", message):
            text = text.partition(".")[0]
        if self.odds(3):
            number, text = "", "" if self.odds(4) else text.replace("MIME", "HEADER")
        spec = "[%s]" % (number + ("." if number and text else "") + text)
        if not self.odds(3):
            return spec, spec
        is_whole = "FIELDS" in text or re.search(rb"\r(?!\n)|(?<!\r)\n", message)
        offset = 0 if is_whole else self.one([0, 0, 1, 2, 3, 10, 50, 500, 100000])
        count = self.one([1, 2, 3, 20, 100, 65536])
        return "%s<%d>" % (spec, offset), "%s<%d.%d>" % (spec, offset, count)

    def items(self, message):
        sections = dict(self.section(message) for _ in range(16))
        return " ".join(["ENVELOPE", "BODY", "BODYSTRUCTURE", "RFC822.SIZE"] +
                        ["BODY.PEEK" + section for section in sections.values()])


def make(rng):
    maker = Maker(rng)
    message = maker.message()
    return message, maker.items(message)
