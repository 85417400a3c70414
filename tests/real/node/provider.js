// An authorization server on loopback: oidc-provider with its own development pages to sign in and to consent.
// Usage: provider.js PORT MAILBOX LIFETIME. Access tokens are opaque and live for LIFETIME seconds; a refresh token is
// good for one use, and a second use of it ends the sign-in. Prints a line for each thing it does.
'use strict';
const { pathToFileURL } = require('node:url');

const [port, mailbox, lifetime] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const configuration = {
    clients: [
        {
            client_id: 'gateway',
            client_secret: 'app/secret+1',
            token_endpoint_auth_method: 'client_secret_post',
            grant_types: ['client_credentials'],
            redirect_uris: [],
            response_types: [],
        },
        {
            client_id: 'desktop',
            application_type: 'native',
            token_endpoint_auth_method: 'none',
            grant_types: ['authorization_code', 'refresh_token'],
            // Of a native application's loopback address the port does not count (RFC 8252 section 7.3).
            redirect_uris: ['http://localhost'],
        },
        {
            client_id: 'television',
            application_type: 'native',
            token_endpoint_auth_method: 'none',
            grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
            redirect_uris: [],
            response_types: [],
        },
        {
            // Dovecot, which only asks about tokens.
            client_id: 'dovecot',
            client_secret: 'dovecot-secret',
            token_endpoint_auth_method: 'client_secret_basic',
            grant_types: [],
            redirect_uris: [],
            response_types: [],
        },
    ],
    scopes: ['openid', 'offline_access', 'mail'],
    claims: { openid: ['sub'], email: ['email'] },
    // Else the address would be told at the userinfo endpoint only.
    conformIdTokenClaims: false,
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, email: id }) }),
    // What introspection says beside the usual: whose mailbox it is. The app that stands for itself has this one.
    extraTokenClaims: (_context, token) => ({ email: token.accountId ?? mailbox }),
    pkce: { required: () => true },
    rotateRefreshToken: true,
    features: {
        clientCredentials: { enabled: true },
        deviceFlow: { enabled: true },
        introspection: { enabled: true, allowedPolicy: (_context, client) => client.clientId === 'dovecot' },
    },
    cookies: { keys: ['of no worth'] },
    ttl: {
        AccessToken: Number(lifetime),
        ClientCredentials: Number(lifetime),
        AuthorizationCode: 60,
        DeviceCode: 600,
        Grant: 3600,
        IdToken: 3600,
        Interaction: 600,
        RefreshToken: 3600,
        Session: 3600,
    },
};

async function main() {
    // Found by NODE_PATH, which import itself does not look at.
    const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));
    const provider = new Provider(issuer, configuration);
    provider.on('grant.success', context => console.log(`granted ${context.oidc.params.grant_type}`));
    provider.on('grant.error', (context, error) => {
        // A device code is asked for until somebody has typed it.
        if (error.error !== 'authorization_pending') {
            console.log(`refused ${context.oidc.params?.grant_type}: ${error.error} ${error.error_detail ?? ''}`);
        }
    });
    provider.on('grant.revoked', () => console.log('revoked'));
    provider.on('server_error', (_context, error) => console.log(`broken ${error.stack}`));
    for (const kind of ['access_token', 'client_credentials', 'refresh_token']) {
        provider.on(`${kind}.saved`, token => console.log(`issued ${token.jti}`));
    }
    provider.listen(Number(port), '127.0.0.1');
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
