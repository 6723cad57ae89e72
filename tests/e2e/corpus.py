"""Mail of every kind that a mail program makes, and the reading of what became of it.

Each message has CRLF line ends, is addressed to Bob, and holds the canary in its body and in its subject, in
attachments also in a name, so that whatever leaks is found. Reading is done by plain gpg and Python's email package,
which know nothing of privyseal.
"""
import email
import email.message
import email.policy
import random

import harness
from harness import ALICE, BOB

CANARY = b"KANARIENVOGEL"
WORD = CANARY.decode()
OWN_FIELDS = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "X-Kind")
BIG = 20 << 20
PLAIN_POLICY = email.policy.SMTP.clone(cte_type="8bit", max_line_length=78)


def lines(text):
    """Bytes of a text with LF line ends, with CRLF."""
    return text.replace("\n", "\r\n").encode()


def header(kind, subject=None, extra=""):
    return lines("From: Alice Liddell <%s>\nTo: Bob <%s>\nSubject: %s\nDate: Fri, 20 Nov 2026 12:00:00 +0000\n"
                 "Message-ID: <%s@example.org>\nX-Kind: %s\n%s" %
                 (ALICE, BOB, subject or "%s %s" % (kind, WORD), kind, kind, extra))


def built(kind, subject=None):
    """An empty message of Python's with the usual fields."""
    message = email.message.EmailMessage(policy=PLAIN_POLICY)
    for name, value in (("From", "Alice Liddell <%s>" % ALICE), ("To", "Bob <%s>" % BOB),
                        ("Subject", subject or "%s %s" % (kind, WORD)), ("Date", "Fri, 20 Nov 2026 12:00:00 +0000"),
                        ("Message-ID", "<%s@example.org>" % kind), ("X-Kind", kind)):
        message[name] = value
    return message


def text():
    return header("text") + b"\r\nDear Bob,\r\n\r\nthe %s sings. \r\n\r\n-- \r\nAlice\r\n" % CANARY


def html_with_attachments():
    message = built("html")
    message.set_content("the %s sings\n" % WORD)
    message.add_alternative("<html><body><p>the <b>%s</b> sings &auml;</p></body></html>\n" % WORD, subtype="html")
    message.get_payload()[1].add_related(b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "image", "png",
                                         cid="<bird@example.org>")
    message.add_attachment(bytes(range(256)) * 20, maintype="application", subtype="octet-stream",
                           filename="%s.bin" % WORD)
    message.add_attachment("Gr\u00fc\u00dfe vom %s\n" % WORD, filename="Gr\u00fc\u00dfe %s.txt" % WORD)
    return message.as_bytes()


def eight_bit():
    """Latin-1 in the body, sent as 8bit."""
    return (header("eightbit", extra="MIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\n"
                                     "Content-Transfer-Encoding: 8bit\n") +
            b"\r\nDer %s gr\xfc\xdft und l\xe4sst fragen, \r\nFrom here on: \xe4\xf6\xfc\r\n" % CANARY)


def utf8():
    """UTF-8 in the body, and in the header as encoded words."""
    return (header("utf8", subject="=?UTF-8?Q?Gr=C3=BC=C3=9Fe_vom_%s?= =?UTF-8?B?4pyT?=" % WORD,
                   extra="Cc: =?UTF-8?Q?J=C3=B6rg?= <%s>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
                         "Content-Transfer-Encoding: 8bit\n" % BOB) +
            "\r\nDer {} grüßt \u2713 \U0001f426\r\nzweite Zeile\t\r\n".format(WORD).encode())


def big():
    message = built("big")
    message.set_content("the %s in a cage of 20 MB\n" % WORD)
    message.add_attachment(CANARY + random.Random(20).randbytes(BIG), maintype="application", subtype="octet-stream",
                           filename="%s.bin" % WORD)
    return message.as_bytes()


def empty():
    return header("empty") + b"\r\n"


def long_lines():
    return header("long") + b"\r\n" + CANARY + b" " + b"sings and " * 200 + b"\r\n" + b"x" * 998 + b"\r\nend\r\n"


def dots():
    return header("dots") + b"\r\n.\r\n..\r\n.%s\r\n...three\r\n. blank\r\n.\r\nFrom a dot\r\n.\r\n" % CANARY


def forwarded():
    message = built("forwarded")
    message.set_content("see the %s below\n" % WORD)
    inner = email.message_from_bytes(html_with_attachments(), policy=PLAIN_POLICY)
    message.add_attachment(inner)
    return message.as_bytes()


def calendar():
    event = ("BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@example.org\r\nSUMMARY:%s\r\n"
             "DTSTART:20261120T160000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n" % WORD)
    message = built("calendar")
    message.set_content("come to the %s\n" % WORD)
    message.add_alternative(event.encode(), "text", "calendar", params={"method": "REQUEST", "charset": "utf-8"},
                            cte="base64")
    return message.as_bytes()


def signed():
    """A message that is signed already; its inner bytes must come through untouched."""
    content = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nsigned by hand: %s\r\n" % CANARY
    signature = harness.keys().run("--armor", "--local-user", ALICE, "--detach-sign", data=content).stdout
    return (header("signed",
                   extra='MIME-Version: 1.0\nContent-Type: multipart/signed; boundary="sig"; micalg=pgp-sha512;\n'
                                   ' protocol="application/pgp-signature"\n') +
            b"\r\n--sig\r\n" + content + b"\r\n--sig\r\nContent-Type: application/pgp-signature\r\n\r\n" +
            signature.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n--sig--\r\n")


KINDS = (text, html_with_attachments, eight_bit, utf8, big, empty, long_lines, dots, forwarded, calendar, signed)


def all_messages():
    """(kind, message) of each."""
    return [(kind.__name__, kind()) for kind in KINDS]


def read(data):
    return email.message_from_bytes(data, policy=email.policy.default)


def leaves(message):
    """(type, decoded bytes, file name, disposition) of each part that is no container, in order."""
    found = []
    for part in message.walk():
        if part.get_content_maintype() == "multipart":
            found.append((part.get_content_type(), len(part.get_payload()), None, None))
        elif part.get_content_type() == "message/rfc822":
            found.append((part.get_content_type(), None, part.get_filename(), part.get_content_disposition()))
        else:
            body = part.get_payload(decode=True)
            found.append((part.get_content_type(), body, part.get_filename(), part.get_content_disposition()))
    return found


def fields(message):
    """The fields that a person wrote, unfolded."""
    return [(name, str(message[name])) for name in OWN_FIELDS if message[name] is not None]


class Opened:
    """What arrived, taken apart: `outer` as it lay there, `inner` the message inside (the same for a plain one)."""

    def __init__(self, content):
        self.content = content
        self.outer = self.inner = read(content)
        self.status, self.plain = "", content
        self.kind = self.outer.get_content_type()

    @property
    def is_encrypted(self):
        return self.kind == "multipart/encrypted"

    def decrypt(self, gpg=None):
        self.plain, self.status = (gpg or harness.keys()).decrypt(self.outer.get_payload(1).get_payload(decode=True))
        self.inner = read(self.plain)
        return self


def cut_signed(content):
    """The exact bytes that the signature of a multipart/signed covers, and the signature."""
    outer = read(content)
    boundary = b"--" + outer.get_boundary().encode()
    pieces = content.split(b"\r\n" + boundary)
    return pieces[1].removeprefix(b"\r\n"), outer.get_payload(1).get_payload(decode=True)


def check_same(test, original, inner):
    """The message that came out is the one that went in: fields, structure, every decoded part."""
    before = read(original)
    test.assertEqual(fields(inner), fields(before))
    want, got = leaves(before), leaves(inner)
    test.assertEqual([leaf[0] for leaf in got], [leaf[0] for leaf in want])
    for wanted, found in zip(want, got):
        test.assertEqual(found[2:], wanted[2:])
        if wanted[1] != found[1]:
            test.fail("%s differs: %.200r became %.200r" % (wanted[0], wanted[1], found[1]))


def check_sealed(test, original, content, signer=ALICE):
    """`content` is `original` encrypted to Bob, signed, with its header protected as RFC 9788 has it. Gives back what
    was inside."""
    opened = Opened(content)
    test.assertEqual(opened.kind, "multipart/encrypted")
    test.assertEqual(opened.outer.get_param("protocol"), "application/pgp-encrypted")
    test.assertEqual([part.get_content_type() for part in opened.outer.get_payload()],
                     ["application/pgp-encrypted", "application/octet-stream"])
    test.assertEqual(opened.outer.get_payload(0).get_payload().strip(), "Version: 1")
    test.assertNotIn(CANARY, content)
    test.assertTrue(content.isascii())
    test.assertLessEqual(max(len(line) for line in content.split(b"\r\n")), 998)
    test.assertEqual(opened.outer.get_all("Subject"), ["[...]"])
    opened.decrypt()
    test.assertIn("GOODSIG", opened.status)
    test.assertIn("DECRYPTION_OKAY", opened.status)
    test.assertIn("GOODMDC", opened.status)
    test.assertIn("VALIDSIG %s" % harness.keys().fingerprint(signer), opened.status)
    inner = opened.inner
    test.assertEqual(inner.get_param("hp"), "cipher")
    test.assertEqual(inner.get_param("protected-headers"), "v1")
    outer_fields = dict(value.split(": ", 1) for value in unfolded(inner, "HP-Outer"))
    test.assertEqual(outer_fields["Subject"], "[...]")
    test.assertEqual(outer_fields["Message-ID"], str(inner["Message-ID"]))
    for name in ("From", "To", "Date", "Message-ID"):
        test.assertEqual(str(opened.outer[name]), str(inner[name]))
    check_same(test, original, inner)
    return opened


def unfolded(message, name):
    """Values of a field as raw text without its folding."""
    return [str(value).replace("\r\n", "").replace("\n", "")
            for key, value in message.raw_items() if key.lower() == name.lower()]


def check_signed(test, original, content, folder):
    """`content` is `original` signed in clear; gpg verifies the very bytes."""
    opened = Opened(content)
    test.assertEqual(opened.kind, "multipart/signed")
    test.assertEqual(opened.outer.get_param("protocol"), "application/pgp-signature")
    covered, signature = cut_signed(content)
    test.assertTrue(covered.isascii())
    status = harness.keys().verify(signature, covered, folder)
    test.assertIn("GOODSIG", status)
    micalg = {"8": "pgp-sha256", "9": "pgp-sha384", "10": "pgp-sha512"}
    hash_number = status.split("VALIDSIG ", 1)[1].split()[7]
    test.assertEqual(opened.outer.get_param("micalg"), micalg[hash_number])
    inner = read(covered)
    test.assertEqual(inner.get_param("hp"), "clear")
    test.assertEqual(str(opened.outer["Subject"]), str(inner["Subject"]))
    check_same(test, original, inner)
    return opened
