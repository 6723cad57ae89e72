#!/usr/bin/python3
"""bench.py runs from end to end and says all that it should; its numbers are not judged."""
import json
import os
import subprocess
import sys
import unittest

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench.py")


class Smoke(unittest.TestCase):
    def test_quick(self):
        done = subprocess.run([sys.executable, BENCH, "--quick", "--json"], stdout=subprocess.PIPE, timeout=300,
                              check=False)
        self.assertEqual(done.returncode, 0)
        results = json.loads(done.stdout)["results"]
        for word in ("sealed", "relayed", "NOOP", "idle session, clear", "idle session, tls", "peak",
                     "RSA-3072 seal", "P-256 open", "S/MIME sent", "S/MIME peak, sealed",
                     "S/MIME peak, opened", "LDAP look-ups, cached", "sources dead, next", "a DNS server",
                     "answer for a known address"):
            found = [result for result in results if word in result["name"]]
            self.assertTrue(found, word)
            for result in found:
                if word.startswith("idle"):
                    # Of so few sessions the difference may drown in what the allocator gives back meanwhile.
                    self.assertIsInstance(result["value"], (int, float), result["name"])
                else:
                    self.assertGreater(result["value"], 0, result["name"])


if __name__ == "__main__":
    unittest.main()
