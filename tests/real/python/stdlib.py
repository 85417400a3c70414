"""The clients of Python's standard library, as a script of some year uses them.

Usage: stdlib.py smtp|imap|pop3 PORT USER PASSWORD [MESSAGE]
Prints what it read; exits with 3 if the login is refused.
"""
import imaplib
import poplib
import smtplib
import sys

protocol, port, user, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]


def smtp(message):
    for mechanism in ("auth_plain", "auth_login"):
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.ehlo("client.example.com")
            client.user, client.password = user, password
            client.auth(mechanism.removeprefix("auth_").upper(), getattr(client, mechanism))
            client.sendmail("user@example.com", ["office@example.net", "else@example.net"], message)


def imap(_):
    client = imaplib.IMAP4("127.0.0.1", port)
    client.login(user, password)
    client.select("INBOX")
    _, answer = client.fetch("1", "(RFC822)")
    client.logout()
    # The other way to log in, with the capabilities read anew.
    client = imaplib.IMAP4("127.0.0.1", port)
    assert "AUTH=PLAIN" in client.capabilities, client.capabilities
    client.authenticate("PLAIN", lambda challenge: f"\0{user}\0{password}".encode())
    client.logout()
    return answer[0][1]


def pop3(_):
    client = poplib.POP3("127.0.0.1", port)
    client.user(user)
    client.pass_(password)
    count, _ = client.stat()
    assert len(client.list()[1]) == count
    _, lines, _ = client.retr(1)
    client.quit()
    return b"".join(line + b"\r\n" for line in lines)


try:
    message = open(sys.argv[5], "rb").read() if len(sys.argv) > 5 else None
    read = {"smtp": smtp, "imap": imap, "pop3": pop3}[protocol](message)
    sys.stdout.buffer.write(read or b"")
except (smtplib.SMTPAuthenticationError, imaplib.IMAP4.error, poplib.error_proto) as refusal:
    print(refusal, file=sys.stderr)
    sys.exit(3)
