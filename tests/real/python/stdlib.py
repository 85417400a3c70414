"""The clients of Python's standard library, as a script of some year uses them.

Usage: stdlib.py smtp|imap|pop3 PORT clear|starttls|implicit TRUSTED USER PASSWORD [MESSAGE]
TRUSTED is a file with the certificate to trust. Prints what it read; exits with 3 if the login is refused.
"""
import imaplib
import poplib
import smtplib
import ssl
import sys

HOST = "127.0.0.1"
protocol, port, way, trusted, user, password = sys.argv[1], int(sys.argv[2]), *sys.argv[3:7]
message = open(sys.argv[7], "rb").read() if len(sys.argv) > 7 else None
context = None
if way != "clear":
    context = ssl.create_default_context(cafile=trusted)
    # The default since Python 3.13.
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


def connect(clear, over_tls, **tls):
    """A client that speaks TLS from the first octet, or none yet."""
    return over_tls(HOST, port, **tls) if way == "implicit" else clear(HOST, port)


def smtp():
    for mechanism in ("auth_plain", "auth_login"):
        with connect(smtplib.SMTP, smtplib.SMTP_SSL, context=context) as client:
            if way == "starttls":
                client.starttls(context=context)
            client.ehlo("client.example.com")
            client.user, client.password = user, password
            client.auth(mechanism.removeprefix("auth_").upper(), getattr(client, mechanism))
            client.sendmail("user@example.com", ["office@example.net", "else@example.net"], message)


def imap_client():
    client = connect(imaplib.IMAP4, imaplib.IMAP4_SSL, ssl_context=context)
    if way == "starttls":
        client.starttls(ssl_context=context)
    return client


def imap():
    client = imap_client()
    client.login(user, password)
    client.select("INBOX")
    _, answer = client.fetch("1", "(RFC822)")
    client.logout()
    # The other way to log in, with the capabilities read anew.
    client = imap_client()
    assert "AUTH=PLAIN" in client.capabilities, client.capabilities
    client.authenticate("PLAIN", lambda challenge: f"\0{user}\0{password}".encode())
    client.logout()
    return answer[0][1]


def pop3():
    client = connect(poplib.POP3, poplib.POP3_SSL, context=context)
    if way == "starttls":
        client.stls(context=context)
    client.user(user)
    client.pass_(password)
    count, _ = client.stat()
    assert len(client.list()[1]) == count
    _, lines, _ = client.retr(1)
    client.quit()
    return b"".join(line + b"\r\n" for line in lines)


try:
    read = {"smtp": smtp, "imap": imap, "pop3": pop3}[protocol]()
    sys.stdout.buffer.write(read or b"")
except (smtplib.SMTPAuthenticationError, imaplib.IMAP4.error, poplib.error_proto) as refusal:
    print(refusal, file=sys.stderr)
    sys.exit(3)
