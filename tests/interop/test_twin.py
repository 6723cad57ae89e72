#!/usr/bin/python3
"""The twin: any IMAP command gets the same answer from a plain mailbox and from a sealed one behind privyseal.

TWIN_COMMANDS and TWIN_SEED ask for more than the short run of every check.
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import dovecot  # noqa: E402
import harness  # noqa: E402
import twin  # noqa: E402


COMMANDS = int(os.environ.get("TWIN_COMMANDS", "1500"))
SEED = int(os.environ.get("TWIN_SEED", "1"))
MESSAGES = int(os.environ.get("TWIN_MESSAGES", "300"))


def shown(lines):
    return "\n".join("    %r" % (line if len(line) < 4000 else line[:2000] + b" ... " + line[-2000:]) for line in lines)


def difference(ours, theirs):
    """The first answers that differ, and where in them."""
    for mine, other in zip(ours, theirs):
        if mine != other:
            at = next((i for i, (a, b) in enumerate(zip(mine, other)) if a != b), min(len(mine), len(other)))
            return "ours   ...%r\ntwin's ...%r" % (mine[max(0, at - 200):at + 300], other[max(0, at - 200):at + 300])
    return "ours has %d answers, the twin's %d:\n%s\n  against\n%s" % (len(ours), len(theirs), shown(ours[-3:]),
                                                                       shown(theirs[-3:]))


@unittest.skipUnless(dovecot.is_there(), "Dovecot is not installed")
class Twin(harness.World):
    def idle(self, talk):
        talk.number += 1
        tag = b"t%d " % talk.number
        talk.socket.sendall(tag + b"IDLE\r\n")
        told = [talk.response()]
        talk.socket.sendall(b"DONE\r\n")
        while not told[-1].startswith(tag):
            told.append(talk.response())
        return [twin.normal(line[len(tag):-2] if line.startswith(tag) else line) for line in told]

    def test_every_command_gets_the_same_answer(self):
        pair = twin.Pair(self, MESSAGES, SEED)
        chance = twin.Chance(pair, SEED)
        ours, theirs = pair.talks()
        for talk in (ours, theirs):
            talk.command(b"SELECT INBOX")
        statuses = {}
        for number in range(COMMANDS):
            command = chance.command()
            ask = self.idle if command == b"IDLE" else lambda talk, text=command: twin.answers(talk, text)
            mine, other = ask(ours), ask(theirs)
            if mine != other:
                self.fail("command %d, seed %d: %r\n%s\n%s" % (number, SEED, command[:3000], difference(mine, other),
                                                              pair.proxy.log()[-2000:]))
            word = mine[-1].split()[0].decode()
            statuses[word] = statuses.get(word, 0) + 1
        print("# %d commands over %d messages, no difference: %s" % (COMMANDS, MESSAGES, statuses))
        self.assertGreater(statuses["OK"], COMMANDS * 0.8)


if __name__ == "__main__":
    unittest.main()
