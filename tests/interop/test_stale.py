"""Whoever keeps a source from answering makes no mail weaker than it was: what it said stands, is asked for again, and
goes when the source itself takes it back; `why` says the same as the proxy does."""
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import harness  # noqa: E402
import test_sources  # noqa: E402
from harness import ALICE  # noqa: E402
from test_sources import ERIN, FRANK, HEIDI, SHARED, WKD, Keyd, exported, wkd_file  # noqa: E402

TOLD = os.path.join(os.path.dirname(os.path.abspath(harness.SMTPD)), "peer_told")
RULES = 'rule "all" { encrypt = %s  sign = always }'
DAY = 86400
setUpModule = test_sources.setUpModule  # pylint: disable=invalid-name


class Stale(test_sources.Case):
    def setUp(self):
        super().setUp()
        self.number = 0

    def told(self, proxy, *words, data=b""):
        done = subprocess.run([TOLD, proxy.config, ALICE, *map(str, words)], input=data, capture_output=True,
                              check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""), words)

    def runs_out(self, proxy, seconds, address=ERIN):
        """The directory's word has run out so long ago, and the proxy knows of no answer."""
        proxy.stop()
        now = int(time.time())
        self.told(proxy, "word", address, SHARED["gpg"].fingerprint(address), "wkd", "found", now - 60 * DAY,
                  now - seconds)
        proxy.start()

    def sent_to(self, proxy, recipient=ERIN):
        """Whose key the mail is encrypted to; None: it left in clear."""
        self.number += 1
        proxy.send(b"From: %s\r\nTo: %s\r\nSubject: x\r\nMessage-ID: <%d@x>\r\n\r\nsecret words\r\n"
                   % (ALICE.encode(), recipient.encode(), self.number), [recipient])
        data = self.server.mail()[-1][1]
        if b"secret words" in data:
            return None
        ids = harness.keys().key_ids_of(data[data.index(b"-----BEGIN PGP MESSAGE"):])
        return [address for address in (ERIN, HEIDI, FRANK) if ids & SHARED["gpg"].encryption_key_ids(address)]

    def rcpt(self, proxy):
        with harness.Raw(proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % ALICE)
            return client.command("RCPT TO:<%s>" % ERIN)

    def why(self, proxy):
        return self.run_command(proxy, "why", ERIN)[1]

    def begin(self, encrypt):
        """Her own directory has told her key, and somebody has written a field that names another."""
        proxy = self.proxy(RULES % encrypt, sources=("wkd", "autocrypt"), start=True)
        self.assertEqual(self.sent_to(proxy), [ERIN])
        self.told(proxy, "autocrypt", ERIN, SHARED["gpg"].fingerprint(HEIDI), "nopreference", int(time.time()) - 60,
                  data=exported(HEIDI))
        self.assertIsNone(self.why(proxy)["key"]["stale_since"])
        return proxy

    def check_stale(self, proxy, is_unconfirmed):
        answer = self.why(proxy)
        self.assertEqual((answer["action"], answer["key"]["fingerprint"], answer["key"]["source"]),
                         ("sign-encrypt", SHARED["gpg"].fingerprint(ERIN), "wkd"))
        self.assertLess(answer["key"]["stale_since"], time.time())
        self.assertEqual(answer["sources"], ["wkd"])
        text = subprocess.run([harness.PRIVYSEAL, "why", ERIN, "--config", proxy.config], capture_output=True,
                              check=True).stdout.decode()
        self.assertIn("its source has not answered", text)
        self.assertEqual("counts as seen" in text, is_unconfirmed)

    def test_when_possible(self):
        proxy = self.begin("when-possible")
        self.wkd.order("status 503")
        self.runs_out(proxy, 60)
        asked = len(self.wkd.asked())
        self.check_stale(proxy, False)
        self.assertEqual(self.sent_to(proxy), [ERIN], proxy.log())
        self.assertGreater(len(self.wkd.asked()), asked)
        self.wkd.stop()
        self.assertEqual(self.sent_to(proxy), [ERIN], proxy.log())
        self.assertIn("it goes on with what there is", proxy.log())
        # For how long soever: a copy that was sealed does not leave in clear because nobody answers.
        self.runs_out(proxy, 300 * DAY)
        self.check_stale(proxy, True)
        self.assertEqual(self.sent_to(proxy), [ERIN], proxy.log())
        # Nor where the names are gone, which anybody can say.
        taken, SHARED["names"].hosts = SHARED["names"].hosts, {}
        self.runs_out(proxy, 60)
        self.assertEqual(self.sent_to(proxy), [ERIN], proxy.log())
        SHARED["names"].hosts = taken
        # The directory answers, and has no key: that is an end. Autocrypt's key is another, which nobody asked for.
        Keyd(self, "127.0.0.2")
        self.runs_out(proxy, 60)
        self.assertIsNone(self.sent_to(proxy), proxy.log())
        answer = self.why(proxy)
        self.assertEqual((answer["action"], answer["key"] and answer["key"]["fingerprint"]),
                         ("sign", SHARED["gpg"].fingerprint(HEIDI)), (answer, proxy.log()[-4000:]))

    def test_first_host_that_is_said_to_be_gone(self):
        """Whoever says so sends us to the domain itself, whose servers have no directory."""
        proxy = self.proxy(RULES % "when-possible", sources=("wkd",), start=True)
        self.assertEqual(self.sent_to(proxy, FRANK), [FRANK], proxy.log())
        self.wkd.order("status 404")
        self.runs_out(proxy, 60, FRANK)
        asked = len(self.wkd.asked())
        self.assertEqual(self.sent_to(proxy, FRANK), [FRANK], proxy.log())
        self.assertGreater(len(self.wkd.asked()), asked)

    def test_taken_back_while_another_is_out_of_reach(self):
        """What a source says is so, whatever keeps another that counts as much from saying anything."""
        proxy = self.proxy(RULES % "when-possible", sources=("wkd", "dane"), start=True)
        self.assertEqual(self.find(proxy, ERIN)[1]["dane"][0], "failed")
        self.assertEqual(self.sent_to(proxy), [ERIN], proxy.log())
        self.wkd.order("status 404")
        self.runs_out(proxy, 60)
        self.assertIsNone(self.sent_to(proxy), proxy.log())
        self.assertIn("it goes on with what there is", proxy.log())
        self.assertIsNone(self.why(proxy)["key"])

    def test_required(self):
        proxy = self.begin("required")
        self.wkd.stop()
        self.runs_out(proxy, 29 * DAY)
        self.check_stale(proxy, False)
        self.assertEqual(self.sent_to(proxy), [ERIN], proxy.log())
        self.runs_out(proxy, 31 * DAY)
        self.assertEqual(self.rcpt(proxy)[0], 451, proxy.log())
        answer = self.why(proxy)
        self.assertEqual((answer["action"], answer["reason"]),
                         ("refuse", "its source has not confirmed it for too long"))
        self.assertIn("not been heard for more than 30 days", answer["detail"])
        # It has another key now: that is the one, and nothing is stale.
        again = Keyd(self, "127.0.0.2", {wkd_file(WKD, ERIN): exported(ERIN)})
        self.runs_out(proxy, 31 * DAY)
        self.assertEqual(self.sent_to(proxy), [ERIN], proxy.log())
        self.assertIsNone(self.why(proxy)["key"]["stale_since"])
        again.order("status 404")
        self.runs_out(proxy, 1)
        code, text = self.rcpt(proxy)
        self.assertEqual(code, 550, proxy.log())
        self.assertIn("asked in vain: wkd", text)


if __name__ == "__main__":
    unittest.main()
