"""A device from before TLS 1.2, at 127.0.0.2: sends a message, by TLS from the first octet.

Usage: old.py PORT CIPHERS USER PASSWORD MESSAGE
Prints the version of TLS; exits with 3 if the login is refused, and with 4 if there is no TLS.
"""
import smtplib
import ssl
import sys
import warnings

# Python finds fault with the old versions too.
warnings.simplefilter("ignore", DeprecationWarning)
port, ciphers, user, password, file = int(sys.argv[1]), *sys.argv[2:6]
# It checks no certificate, as such devices do.
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
context.set_ciphers(ciphers)

try:
    with smtplib.SMTP_SSL("127.0.0.1", port, context=context, source_address=("127.0.0.2", 0)) as client:
        print(client.sock.version())
        client.login(user, password)
        with open(file, "rb") as message:
            client.sendmail("user@example.com", ["office@example.net"], message.read())
except ssl.SSLError as refusal:
    print(refusal, file=sys.stderr)
    sys.exit(4)
except smtplib.SMTPAuthenticationError as refusal:
    print(refusal, file=sys.stderr)
    sys.exit(3)
