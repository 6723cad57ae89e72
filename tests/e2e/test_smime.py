"""Mail that others signed by S/MIME, with openssl and gpgsm's kind of certificates: what the view says of it."""
import base64
import os
import re
import subprocess
import unittest
import zlib

import corpus
import harness
import rsa_keys
from harness import ALICE, BOB
from imap_harness import Case, fetched, whole

VERDICT = re.compile(rb"^Privyseal-Verdict: ((?:[^\r\n]|\r\n[ \t])*)\r\n", re.M)
# What stands in the view of a message whose text was inside: its header is part of the message's.
INSIDE = corpus.lines("\n\nthe %s came in\n" % corpus.WORD)
TEXT = corpus.lines("Content-Type: text/plain; charset=utf-8\n\nthe %s came in\n" % corpus.WORD)


class Authority:
    """A certification authority of openssl's, for one test."""

    def __init__(self, folder, name):
        self.folder, self.certificate = folder, os.path.join(folder, name + ".pem")
        self.key = os.path.join(folder, name + ".key")
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                 "/CN=" + name, "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                 "keyUsage=critical,keyCertSign,cRLSign", "-days", "30", "-out", self.certificate, "-keyout", self.key)

    def run(self, *arguments, data=None):
        done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)
        if done.returncode != 0:
            raise AssertionError("openssl %s: %s" % (arguments, done.stderr.decode(errors="replace")))
        return done.stdout

    def issue(self, address, name="person", extensions=("extendedKeyUsage=emailProtection",), key=("rsa:2048",)):
        """Certificate and key for `address`."""
        stem = os.path.join(self.folder, name)
        with open(stem + ".ext", "w", encoding="ascii") as file:
            file.write("\n".join(["subjectAltName=email:" + address, *extensions, ""]))
        if key[0].startswith("rsa:"):
            rsa_keys.put(stem + ".key", int(key[0][len("rsa:"):]))
            wish = ("-key", stem + ".key")
        else:
            wish = ("-newkey", *key, "-nodes", "-keyout", stem + ".key")
        self.run("req", "-new", *wish, "-subj", "/CN=" + name, "-out", stem + ".csr")
        self.run("x509", "-req", "-in", stem + ".csr", "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                 "-days", "20", "-extfile", stem + ".ext", "-out", stem + ".crt")
        return stem + ".crt", stem + ".key"


def signature(authority, person, content, *options):
    """DER of a detached signature."""
    return authority.run("cms", "-sign", "-binary", "-outform", "DER", "-signer", person[0], "-inkey", person[1],
                         *options, data=content)


def header(author, kind, *parameters):
    return corpus.lines("From: Bob <%s>\nTo: Alice <%s>\nSubject: signed by a certificate\n"
                        "Date: Fri, 20 Nov 2026 12:00:00 +0000\nMessage-ID: <smime@example.net>\nMIME-Version: 1.0\n"
                        "Content-Type: %s%s\n" % (author, ALICE, kind, "".join(";\n " + each for each in parameters)))


def signed(author, content, der, kind="application/pkcs7-signature"):
    encoded = re.sub(rb"(.{64})", rb"\1\r\n", base64.b64encode(der))
    return header(author, "multipart/signed", "micalg=sha-256; boundary=\"sig\"", "protocol=\"%s\"" % kind) + (
        b"\r\n--sig\r\n") + content + (
                            b"\r\n--sig\r\nContent-Type: " + kind.encode() + b"; name=smime.p7s\r\n"
                            b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded + b"\r\n--sig--\r\n")


def enclosed(author, der, kind="application/pkcs7-mime", parameters=("smime-type=signed-data", "name=smime.p7m")):
    """A message whose text is inside of the CMS object."""
    return header(author, kind, *parameters) + b"Content-Transfer-Encoding: base64\r\n\r\n" + re.sub(
        rb"(.{64})", rb"\1\r\n", base64.b64encode(der)) + b"\r\n"


def der_item(tag, *contents):
    content = b"".join(contents)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x80 | (size.bit_length() + 7) // 8]) + size.to_bytes(
        (size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + length + content


def der_split(der):
    """The items that stand in the first one of `der`."""
    def header(at):
        size, begin = der[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7f
            size, begin = int.from_bytes(der[begin:begin + count], "big"), begin + count
        return begin, begin + size
    at, end = header(0)
    items = []
    while at < end:
        _, after = header(at)
        items.append(der[at:after])
        at = after
    return items


def with_digests(der, count):
    """SignedData that names its digest algorithm so many times; each would be a pass over all of the text."""
    kind, explicit = der_split(der)
    inner, = der_split(explicit)
    version, digests, *rest = der_split(inner)
    algorithm, = der_split(digests)
    return der_item(0x30, kind, der_item(0xa0, der_item(0x30, version, der_item(0x31, algorithm * count), *rest)))


def compressed(text):
    """CompressedData of RFC 3274, which Debian's openssl does not make."""
    data = der_item(6, bytes.fromhex("2a864886f70d010701"))
    zlib_algorithm = der_item(0x30, der_item(6, bytes.fromhex("2a864886f70d0109100308")))
    inner = der_item(0x30, data, der_item(0xa0, der_item(4, zlib.compress(text))))
    body = der_item(0x30, der_item(2, b"\0"), zlib_algorithm, inner)
    return der_item(0x30, der_item(6, bytes.fromhex("2a864886f70d0109100109")), der_item(0xa0, body))


class Signed(Case):
    def begin_with(self, authority):
        self.begin(account='    smime_ca = "%s"' % authority.certificate if authority else "")

    def verdict(self, number):
        with self.imap() as client:
            client.select(readonly=True)
            view = whole(client, number)
            (_, text, _), = fetched(client, str(number), "(RFC822.SIZE BODY.PEEK[HEADER])")
            self.assertIn(b"RFC822.SIZE %d " % len(view), text)
        match = VERDICT.match(view)
        self.assertIsNotNone(match, view[:500])
        words = dict(word.split("=", 1) for word in re.split(r";\s*", match.group(1).decode()))
        return words, view

    def check(self, message, expected, text=TEXT):
        self.server.put(message)
        words, view = self.verdict(len(self.server.mail()))
        self.assertEqual({name: words.get(name) for name in expected}, expected)
        self.assertEqual(words["encryption"], "none")
        # What was signed is shown byte for byte.
        self.assertIn(text, view)

    def test_verdicts(self):
        authority, stranger = Authority(self.folder, "ca"), Authority(self.folder, "stranger")
        self.begin_with(authority)
        bob = authority.issue(BOB, "bob")
        carol = authority.issue("carol@example.com", "carol", key=("ec", "-pkeyopt", "ec_paramgen_curve:P-384"))
        server = authority.issue(BOB, "server", extensions=("extendedKeyUsage=serverAuth",))
        other = stranger.issue(BOB, "other")
        der = signature(authority, bob, TEXT)
        good = {"signature": "good", "signer": BOB, "trust": "full"}
        self.check(signed(BOB, TEXT, der), good)
        self.check(signed(BOB, TEXT, der, "application/x-pkcs7-signature"), good)
        self.check(signed(BOB, TEXT, der, "application/octet-stream"), good)
        self.check(signed(BOB, TEXT, signature(authority, bob, TEXT, "-md", "sha512", "-keyopt",
                                               "rsa_padding_mode:pss")), good)
        self.check(signed("carol@example.com", TEXT, signature(authority, carol, TEXT)),
                   {"signature": "good", "signer": "carol@example.com"})
        self.check(signed("mallory@example.com", TEXT, der), {"signature": "mismatch"})
        self.check(signed(BOB, TEXT, signature(authority, carol, TEXT)), {"signature": "mismatch"})
        self.check(signed(BOB, TEXT, signature(authority, other, TEXT)),
                   {"signature": "untrusted", "signer": BOB, "trust": "unverified"})
        self.check(signed(BOB, TEXT, signature(authority, server, TEXT)), {"signature": "bad"})
        self.check(signed(BOB, TEXT, signature(authority, bob, TEXT, "-md", "sha1")), {"signature": "weak"})
        self.check(signed(BOB, TEXT, signature(authority, authority.issue(BOB, "unseen"), TEXT, "-nocerts")),
                   {"signature": "unknown-key"})
        self.check(signed(BOB, TEXT, signature(authority, bob, TEXT + b"x")), {"signature": "bad"})
        self.check(signed(BOB, TEXT, der[:-40]), {"signature": "bad"})
        self.check(signed(BOB, TEXT, b"no signature"), {"signature": "bad"})
        self.check(signed(BOB, TEXT, signature(authority, bob, TEXT, "-noattr")), {"signature": "bad"})
        self.check(signed(BOB, TEXT, with_digests(der, 2)), good)
        self.check(signed(BOB, TEXT, with_digests(der, 20000)), {"signature": "bad"})
        # Of two signers the weaker counts.
        self.check(signed(BOB, TEXT, signature(authority, bob, TEXT, "-signer", carol[0], "-inkey", carol[1])),
                   {"signature": "mismatch"})

    def test_text_inside(self):
        authority = Authority(self.folder, "ca")
        self.begin_with(authority)
        bob = authority.issue(BOB, "bob")
        der = signature(authority, bob, TEXT, "-nodetach")
        good = {"signature": "good", "signer": BOB, "trust": "full"}
        streamed = signature(authority, bob, TEXT, "-nodetach", "-stream", "-indef")
        for kind, parameters in (("application/pkcs7-mime", ("smime-type=signed-data", "name=smime.p7m")),
                                 ("application/x-pkcs7-mime", ("name=smime.p7m",)),
                                 ("application/pkcs7-mime", ()),
                                 ("application/pkcs7-mime", ("smime-type=enveloped-data",)),
                                 ("application/octet-stream", ("name=\"Smime.P7M\"",))):
            with self.subTest(kind=kind, parameters=parameters):
                self.check(enclosed(BOB, der, kind, parameters), good, INSIDE)
        self.check(enclosed(BOB, streamed), good, INSIDE)
        self.check(enclosed("mallory@example.com", der), {"signature": "mismatch"}, INSIDE)
        self.check(enclosed(BOB, der.replace(b"came", b"name")), {"signature": "bad"},
                   INSIDE.replace(b"came", b"name"))
        # What is no signature at all is shown as it came.
        cut = enclosed(BOB, der[:-9])
        self.check(cut, {"signature": "bad"}, cut[cut.index(b"\r\n\r\n"):])
        detached = enclosed(BOB, signature(authority, bob, TEXT))
        self.check(detached, {"signature": "bad"}, detached[detached.index(b"\r\n\r\n"):])

    def test_compressed(self):
        authority = Authority(self.folder, "ca")
        self.begin_with(authority)
        bob = authority.issue(BOB, "bob")
        good = {"signature": "good", "signer": BOB}
        packing = ("smime-type=compressed-data", "name=smime.p7z")

        def leaf(der, kind):
            return corpus.lines("Content-Type: application/pkcs7-mime; smime-type=%s\nContent-Transfer-Encoding: "
                                "base64\n\n" % kind) + base64.b64encode(der) + b"\r\n"
        self.check(enclosed(BOB, compressed(leaf(signature(authority, bob, TEXT, "-nodetach"), "signed-data")),
                            parameters=packing), good, INSIDE)
        self.check(enclosed(BOB, signature(authority, bob, leaf(compressed(TEXT), "compressed-data"), "-nodetach")),
                   good, INSIDE)
        # Nothing vouches for what is only compressed, and there is nothing to say of it.
        self.server.put(enclosed(BOB, compressed(TEXT), parameters=packing))
        with self.imap() as client:
            client.select(readonly=True)
            view = whole(client, len(self.server.mail()))
        self.assertTrue(view.endswith(INSIDE), view)
        self.assertNotIn(b"Privyseal-Verdict", view)
        bomb = enclosed(BOB, compressed(b"Content-Type: text/plain\r\n\r\n" + b"0" * (300 << 20)), parameters=packing)
        self.server.put(bomb)
        words, view = self.verdict(len(self.server.mail()))
        self.assertEqual((words["encryption"], words["signature"]), ("failed", "none"))
        self.assertTrue(view.endswith(bomb[bomb.index(b"\r\n\r\n"):]))

    def test_without_anchors_nobody_is_trusted(self):
        authority = Authority(self.folder, "ca")
        self.begin_with(None)
        self.check(signed(BOB, TEXT, signature(authority, authority.issue(BOB), TEXT)), {"signature": "untrusted"})

    def test_a_verdict_stays(self):
        authority = Authority(self.folder, "ca")
        self.begin_with(authority)
        self.server.put(signed(BOB, TEXT, signature(authority, authority.issue(BOB), TEXT)))
        _, before = self.verdict(1)
        self.proxy.stop()
        text = self.proxy.text.replace('smime_ca = "%s"' % authority.certificate, "")
        with open(self.proxy.config, "w", encoding="utf-8") as file:
            file.write(text)
        self.proxy.start()
        self.assertEqual(self.verdict(1)[1], before)

    def test_the_command_line_says_the_same(self):
        authority = Authority(self.folder, "ca")
        self.begin_with(authority)
        self.proxy.stop()
        message = signed(BOB, TEXT, signature(authority, authority.issue(BOB), TEXT))
        done = subprocess.run([harness.PRIVYSEAL, "open", "--report", "--config", self.proxy.config], input=message,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout.decode(), r"^signature=good; signer=bob@example.net; trust=full; encryption=none")
        late = subprocess.run([harness.PRIVYSEAL, "open", "--report", "--config", self.proxy.config, "--at",
                               "2040-01-01"], input=message, capture_output=True, check=False)
        self.assertEqual(late.returncode, 1, late.stderr)
        self.assertRegex(late.stdout.decode(), r"^signature=expired")

    def test_anchors_that_are_not_there(self):
        self.begin_with(None)
        self.proxy.stop()
        with open(self.proxy.config, "w", encoding="utf-8") as file:
            file.write(self.proxy.text.replace("    login =", '    smime_ca = "/nonexistent/ca"\n    login =', 1))
        done = subprocess.run([harness.PRIVYSEAL, "serve", "--config", self.proxy.config], capture_output=True,
                              check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr.decode(), r"c\.conf:\d+: smime_ca = .*expected a file or a folder")


if __name__ == "__main__":
    unittest.main()
