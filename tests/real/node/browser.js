// A person at a browser, Debian's Chromium: opens an address, types a code where one is asked for, signs in, agrees.
// Usage: browser.js PROFILE URL MAILBOX [CODE]. Prints the text of the last page.
'use strict';
const puppeteer = require('puppeteer-core');

const [profile, url, mailbox, code] = process.argv.slice(2);

// No page takes so long, in milliseconds.
const PATIENCE = 30_000;

async function main() {
    const browser = await puppeteer.launch({
        executablePath: '/usr/bin/chromium',
        userDataDir: profile,
        args: [
            '--no-sandbox',
            '--disable-gpu',
            '--disable-quic',
            '--disable-dev-shm-usage',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
            '--no-proxy-server',
            // The pages name a font of the world outside. Nothing but this machine is looked up.
            '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
        ],
    });
    try {
        const page = await browser.newPage();
        page.setDefaultTimeout(PATIENCE);
        const loaded = { waitUntil: 'domcontentloaded' };
        await page.goto(url, loaded);
        const press = selector => Promise.all([page.waitForNavigation(loaded), page.click(selector)]);
        if (code) {
            await page.type('[name=user_code]', code);
            await press('[type=submit]');
            // The page that shows the code once more.
            await page.waitForSelector('[name=confirm]');
            await press('[type=submit]');
        }
        await page.waitForSelector('[name=login]');
        // The address may be there already, from the program's hint.
        await page.$eval('[name=login]', (field, value) => { field.value = value; }, mailbox);
        await page.type('[name=password]', 'anything');
        await press('[type=submit]');
        await page.waitForSelector('[name=prompt][value=consent]');
        await press('[type=submit]');
        console.log(await page.$eval('body', body => body.innerText));
    } finally {
        await browser.close();
    }
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
