"""The thinnest path: one message through the proxy, sealed at the server, read by plain gpg."""
import email
import email.policy
import unittest

import harness
from harness import ALICE, BOB, World

MESSAGE = (b"From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject: CANARY of the subject\r\n"
           b"Message-ID: <1@example.org>\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n\r\nCANARY of the body\r\n")


class First(World):
    def test_sealed_message_arrives(self):
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, rules=harness.TRUSTING)
        self.assertEqual(proxy.send(MESSAGE, [BOB]), {})
        (envelope, content), = server.mail()
        self.assertEqual(envelope["login"], "alice")
        self.assertEqual(server.recipients(), [BOB])
        self.assertNotIn(b"CANARY", content)
        self.assertNotIn(b"CANARY", server.wire())
        outer = email.message_from_bytes(content, policy=email.policy.default)
        self.assertEqual(outer.get_content_type(), "multipart/encrypted")
        self.assertEqual(outer["Subject"], "[...]")
        plain, status = harness.keys().decrypt(outer.get_payload(1).get_payload(decode=True))
        self.assertIn("GOODSIG", status)
        inner = email.message_from_bytes(plain, policy=email.policy.default)
        self.assertEqual(inner["Subject"], "CANARY of the subject")
        self.assertEqual(inner.get_content().strip(), "CANARY of the body")

    def test_no_key_under_required_is_refused_at_rcpt(self):
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, rules=harness.REQUIRED)
        with proxy.client() as client:
            client.mail(ALICE)
            code, text = client.rcpt("nobody@nowhere.example")
        self.assertEqual(code, 550)
        self.assertIn(b"5.7.5", text)
        self.assertIn(b"nobody@nowhere.example", text)
        self.assertEqual(server.mail(), [])


if __name__ == "__main__":
    unittest.main()
