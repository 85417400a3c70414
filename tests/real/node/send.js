// Sends one raw message with nodemailer.
// Usage: send.js PORT clear|starttls|implicit TRUSTED USER PASSWORD METHOD MESSAGE. TRUSTED is a file with the certificate
// to trust. Exits with 3 if the login is refused.
'use strict';
const fs = require('node:fs');
const nodemailer = require('nodemailer');

const [port, way, trusted, user, pass, method, file] = process.argv.slice(2);

async function main() {
    const transport = nodemailer.createTransport({
        host: '127.0.0.1',
        port: Number(port),
        secure: way === 'implicit',
        requireTLS: way === 'starttls',
        // Else it would take STARTTLS where it is offered.
        ignoreTLS: way === 'clear',
        tls: way === 'clear' ? undefined : { ca: fs.readFileSync(trusted) },
        authMethod: method,
        auth: { user, pass },
    });
    const sent = await transport.sendMail({
        envelope: { from: 'user@example.com', to: ['office@example.net'] },
        raw: fs.readFileSync(file),
    });
    console.log(sent.response);
    transport.close();
}

main().catch(error => {
    console.error(error.code, error.message);
    process.exitCode = error.code === 'EAUTH' ? 3 : 1;
});
