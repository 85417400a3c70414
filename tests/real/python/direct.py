"""XOAUTH2 at the upstream itself, without the gateway: the provider of the tests is what they take it for.

Usage: direct.py CA TOKEN IMAPS POP3S SUBMISSION
"""
import base64
import imaplib
import poplib
import smtplib
import ssl
import sys

ca, token = sys.argv[1:3]
imaps, pop3s, submission = map(int, sys.argv[3:6])
context = ssl.create_default_context(cafile=ca)
answer = f"user=user@example.com\x01auth=Bearer {token}\x01\x01"

imap = imaplib.IMAP4_SSL("127.0.0.1", imaps, ssl_context=context)
assert "LOGINDISABLED" in imap.capabilities, imap.capabilities
try:
    imap.authenticate("XOAUTH2", lambda challenge: None if challenge else answer.encode())
    print("imap ok")
    imap.logout()
except imaplib.IMAP4.error as refusal:
    print("imap refused", refusal)
    imap.shutdown()

pop3 = poplib.POP3_SSL("127.0.0.1", pop3s, context=context)
try:
    pop3._shortcmd("AUTH XOAUTH2")
    reply = pop3._shortcmd(base64.b64encode(answer.encode()).decode())
    if reply.startswith(b"+OK"):
        print("pop3 ok")
    else:
        pop3._shortcmd("")
except poplib.error_proto as refusal:
    print("pop3 refused", refusal)
pop3.quit()

smtp = smtplib.SMTP("127.0.0.1", submission)
smtp.ehlo("client.example.com")
assert smtp.has_extn("starttls"), smtp.esmtp_features
smtp.starttls(context=context)
smtp.ehlo("client.example.com")
try:
    smtp.auth("XOAUTH2", lambda challenge=None: answer if not challenge else "", initial_response_ok=False)
    print("smtp ok")
except smtplib.SMTPAuthenticationError as refusal:
    print("smtp refused", refusal)
smtp.quit()
