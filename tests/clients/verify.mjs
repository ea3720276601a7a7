// Receives webhooks and lets the packages that people verify them with have a word.
//
//   npm ci && node verify.mjs
//
// The first line on standard output is the base URL; deliveries go to `<base>/<scheme>` or `<base>/CLOUDEVENTS`. The
// first line of standard input is a JSON object with the secret for each scheme: what the API showed, of ED25519 the
// public key. Then each delivery is a line on standard output, `{"path", "error", "event"}`, where `error` is null if
// the package accepts it and refuses it with one byte changed, and `event` is what the SDK of CloudEvents has read.
// Ends when standard input does.
import { createHmac, createPublicKey, timingSafeEqual, verify as verifyEd25519 } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { verify as verifyGithub } from '@octokit/webhooks-methods';
import { HTTP } from 'cloudevents';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';

const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

// Each throws, or answers false, when the signature is wrong.
const verifiers = {
  STANDARD_WEBHOOKS: (body, headers, secret) => Boolean(new Webhook(secret).verify(body, headers)),
  TWO_SECRET: (body, headers, secret) => Boolean(new Webhook(secret, { format: 'raw' }).verify(body, headers)),
  STRIPE: (body, headers, secret) => Boolean(Stripe.webhooks.constructEvent(body, headers['stripe-signature'], secret)),
  GITHUB: (body, headers, secret) => verifyGithub(secret, body, headers['x-hub-signature-256']),
  // As the documentation of Shopify does it: its packages want a whole app around them.
  SHOPIFY: (body, headers, secret) => {
    const digest = createHmac('sha256', secret).update(body, 'utf8').digest('base64');
    return timingSafeEqual(Buffer.from(digest), Buffer.from(headers['x-shopify-hmac-sha256']));
  },
  // The package standardwebhooks knows no v1a; this is what its specification says.
  ED25519: (body, headers, secret) => {
    const raw = Buffer.from(secret.replace(/^whpk_/, ''), 'base64');
    const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' });
    const content = Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`);
    const signatures = headers['webhook-signature'].split(' ').map((text) => text.split(','));
    return signatures.some(([version, text]) => version === 'v1a' && verifyEd25519(null, content, key, Buffer.from(text, 'base64')));
  },
};

let tellSecrets;
const secrets = new Promise((resolve) => (tellSecrets = resolve));

async function accepts(path, body, headers) {
  try {
    return Boolean(await verifiers[path](body, headers, (await secrets)[path]));
  } catch (error) {
    return error;
  }
}

async function judge(path, body, headers) {
  if (path === 'CLOUDEVENTS') {
    const event = HTTP.toEvent({ headers, body });
    return { error: event.validate() ? null : 'not valid', event: event.toJSON() };
  }
  const accepted = await accepts(path, body, headers);
  if (accepted !== true) return { error: `refused: ${accepted}` };
  const forged = await accepts(path, body.replace('{', '{ '), headers);
  return { error: forged === true ? 'a forged body is accepted' : null };
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const [path, body] = [request.url.slice(1), Buffer.concat(chunks).toString()];
  const judged = await judge(path, body, request.headers).catch((error) => ({ error: String(error) }));
  console.log(JSON.stringify({ path, body, ...judged }));
  response.writeHead(204).end();
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
const input = createInterface({ input: process.stdin });
input.once('line', (line) => tellSecrets(JSON.parse(line)));
input.once('close', () => process.exit(0));
