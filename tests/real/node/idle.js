// Waits in IDLE for a message with imapflow, and prints it.
// Usage: idle.js PORT clear|starttls|implicit TRUSTED USER PASSWORD. TRUSTED is a file with the certificate to trust. Prints
// "idling" once the server has said so. Exits with 3 if the login is refused.
'use strict';
const fs = require('node:fs');
const { ImapFlow } = require('imapflow');

const [port, way, trusted, user, pass] = process.argv.slice(2);

async function main() {
    const client = new ImapFlow({
        host: '127.0.0.1',
        port: Number(port),
        secure: way === 'implicit',
        doSTARTTLS: way === 'starttls',
        tls: way === 'clear' ? undefined : { ca: fs.readFileSync(trusted) },
        auth: { user, pass },
        logger: false,
        emitLogs: true,
    });
    client.on('log', entry => {
        if (entry.src === 's' && /^\+ idling/i.test(entry.msg)) {
            console.log('idling');
        }
    });
    const arrived = new Promise(resolve => client.on('exists', resolve));
    await client.connect();
    await client.mailboxOpen('INBOX');
    const idling = client.idle();
    const { count } = await arrived;
    const message = await client.fetchOne(String(count), { source: true });
    await idling;
    console.log(`exists ${count}`);
    process.stdout.write(message.source);
    await client.logout();
}

main().catch(error => {
    console.error(error.responseText || error.message);
    process.exit(error.authenticationFailed ? 3 : 1);
});
