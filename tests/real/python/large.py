"""20 MB by APPEND, and back by FETCH, compared byte by byte.

Usage: large.py IMAP USER PASSWORD
"""
import imaplib
import random
import sys

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
SIZE = 20_000_000

# Lines of every length and every octet but NUL, CR and LF; the same ones at each run.
dice = random.Random(1)
octets = [bytes([octet]) for octet in range(1, 256) if octet not in (10, 13)]
alphabet = b"".join(octets) * 8
lines = [b"Subject: large\r\n", b"\r\n"]
size = sum(map(len, lines))
while size < SIZE:
    start = dice.randrange(255)
    line = alphabet[start : start + dice.randrange(998)] + b"\r\n"
    lines.append(line)
    size += len(line)
message = b"".join(lines)

imap = imaplib.IMAP4("127.0.0.1", port)
imap.login(user, password)
status, answer = imap.append("INBOX", None, None, message)
assert status == "OK", answer
imap.select("INBOX")
status, answer = imap.fetch("1", "(BODY.PEEK[])")
assert status == "OK", answer
fetched = answer[0][1]
assert len(fetched) == len(message), (len(fetched), len(message))
assert fetched == message, "the same length, and other bytes"
imap.logout()
print("same", len(message))
