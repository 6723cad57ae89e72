"""What tests of a session with a mail program share: a proxy in front of a reference server, letters, and their
arrival."""
import corpus
import harness
from harness import ALICE, BOB, World

PLAIN = 'rule "all" { encrypt = never  sign = never }'


def letter(to=BOB, subject="s", extra="", text="text\n", sender=ALICE, number=1):
    return corpus.lines("From: Alice <%s>\nTo: %s\nSubject: %s\nDate: Fri, 20 Nov 2026 12:00:00 +0000\n"
                        "Message-ID: <%d@example.org>\n%s\n%s" % (sender, to, subject, number, extra, text))


class Case(World):
    def begin(self, rules=harness.TRUSTING, options="", account="", listen='listen smtp { at = "127.0.0.1:0" }',
              ca_file=None,
              **server_options):
        self.server = harness.RefServer(self, **server_options)
        self.proxy = harness.Proxy(self, self.server, rules=rules, options=options, account=account, listen=listen,
                                   ca_file=ca_file)

    def raw(self, login=True):
        raw = harness.Raw(self.proxy.port)
        self.addCleanup(raw.close)
        if login:
            self.offer = raw.login()
        return raw

    def told(self, message, recipients, sender=ALICE):
        """(code, text) of the answer to the message's end; recipients must be accepted."""
        with self.proxy.client() as client:
            self.assertEqual(client.mail(sender)[0], 250)
            for address in recipients:
                self.assertEqual(client.rcpt(address)[0], 250)
            return client.data(message)

    def refused(self, message, recipients, code, enhanced):
        before = len(self.server.mail())
        got, text = self.told(message, recipients)
        self.assertEqual(got, code, text)
        self.assertIn(enhanced.encode(), text)
        self.assertEqual(len(self.server.mail()), before)
        return text.decode()

    def arrived(self, message, recipients):
        """Content of what this message became, by recipient."""
        before = len(self.server.mail())
        code, text = self.told(message, recipients)
        self.assertEqual(code, 250, text)
        return {word[4:].split(">")[0]: content for envelope,
                content in self.server.mail()[before:] for word in envelope["rcpt"]}
