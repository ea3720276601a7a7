// Runs the playground of a server started by `angarium dev` in Debian's Chromium, as a newcomer would: run the
// example, open the live tab, publish, and watch the delivery arrive. Nothing outside the server may be asked for.
//
//   npm ci && node playground.mjs <base-url> <screenshot-path>
//
// API_KEY   key to use; otherwise the one that the server wrote into the page
// CHROMIUM  browser to drive; otherwise /usr/bin/chromium
//
// One line per step. Exits with 0, or with 1 and one sentence that says what went wrong.
import { chromium, errors } from 'playwright-core';

const LIMIT_MS = 90_000;
const LIVE_MS = 10_000;
const PUBLISHES_MAX = 3;

const PUBLISH = `mutation($input: EventPublishInput!) {
  eventPublish(input: $input) { event { id } userErrors { code message field } }
}`;

/** Says by itself what went wrong; other errors are told with what was being waited for. */
class Failure extends Error {}

const [baseArgument, screenshot] = process.argv.slice(2);
if (!baseArgument || !screenshot) {
  console.error('usage: node playground.mjs <base-url> <screenshot-path>');
  process.exit(1);
}
const base = new URL(baseArgument);
const strangers = [];
const violations = [];
let waitingFor = 'the browser to start';
let browser;

const limit = new Promise((_, reject) => {
  setTimeout(() => reject(new Failure(`after ${LIMIT_MS / 1000} s it still waited for ${waitingFor}`)), LIMIT_MS);
});
try {
  await Promise.race([run(), limit]);
} catch (error) {
  console.error(`FAIL ${sentence(error)}`);
  process.exitCode = 1;
}
await browser?.close();
process.exit();

async function run() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // What the browser does of its own accord gets nowhere either.
      `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE ${base.hostname}`,
    ],
  });
  // A context has a fresh profile, kept in memory.
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  context.setDefaultTimeout(LIMIT_MS);
  await stayAtHome(context);
  await context.addInitScript(() => {
    // The text of the response pane. From Monaco's model, since the page holds only the lines in view.
    globalThis.responseText = () => {
      const models = globalThis.__MONACO.editor.getModels();
      return models.find(({ uri }) => uri.path.endsWith('response.json'))?.getValue() ?? '';
    };
  });
  const page = await context.newPage();
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) violations.push(message.text());
  });
  const subscribed = subscribeMessage(page);
  subscribed.catch(() => {}); // heard below
  step('the browser has started');

  waitingFor = 'GraphiQL to load';
  const response = await page.goto(new URL('/playground/', base).href);
  if (!response.ok()) throw new Failure(`/playground/ answered ${response.status()}`);
  await page.locator('.graphiql-query-editor .view-line').first().waitFor();
  step('GraphiQL is there');

  const keyBox = page.locator('#api-key');
  if (process.env.API_KEY) {
    await keyBox.fill(process.env.API_KEY);
    await keyBox.press('Enter');
  }
  const apiKey = await keyBox.inputValue();
  if (!apiKey) throw new Failure('the key box is empty: start the server with `angarium dev`, or set API_KEY');
  step('there is a key in the box');

  waitingFor = "Monaco's workers";
  for (const name of ['editor', 'graphql', 'json']) await workerOf(page, name);
  step("Monaco's workers run");

  waitingFor = 'an answer to the example';
  await page.locator('.graphiql-execute-button').click();
  const answer = await paneWith(page, []);
  if (answer.includes('"errors"')) throw new Failure(`the example was answered with errors: ${answer}`);
  if (!answer.includes('"userErrors": []')) throw new Failure(`the example was answered without "userErrors": []: ${answer}`);
  step('the example ran without errors');

  waitingFor = 'the live tab to subscribe';
  await page.getByRole('tab', { name: 'Live' }).getByRole('button', { name: 'Live' }).click();
  await page.getByRole('tab', { name: 'Live', selected: true }).waitFor();
  await page.locator('.graphiql-execute-button').click();
  await subscribed;
  step('the live tab has subscribed');

  const before = await pane(page);
  await publishUntilSeen(page, apiKey, before);
  waitingFor = 'a delivery with status SUCCEEDED in the live tab';
  await paneWith(page, ['"kind": "CHANGE"', '"status": "SUCCEEDED"'], { old: before });
  step('the live tab shows a delivery that succeeded');

  waitingFor = 'the screenshot';
  await page.screenshot({ path: screenshot, fullPage: true });
  step(`the screenshot is in ${screenshot}`);

  if (violations.length) throw new Failure(`the page broke its Content Security Policy: ${violations.join('; ')}`);
  if (strangers.length) throw new Failure(`the page asked for something outside ${base.host}: ${strangers.join(', ')}`);
  step(`nothing outside ${base.host} was asked for`);
}

/** Let through what goes to the server under test, refuse and remember all else. */
async function stayAtHome(context) {
  const refused = (url) => {
    const local = url.protocol === 'data:' || url.protocol === 'blob:';
    if (local || url.host === base.host) return false;
    strangers.push(url.href);
    return true;
  };
  await context.route('**/*', (route) => (refused(new URL(route.request().url())) ? route.abort() : route.continue()));
  await context.routeWebSocket((url) => url.host !== base.host, (socket) => {
    strangers.push(socket.url());
    return socket.close();
  });
}

/** Resolves when the page has sent a `subscribe` to `/graphql`. Fails if the server closes the socket. */
function subscribeMessage(page) {
  return new Promise((resolve, reject) => {
    page.on('websocket', (socket) => {
      socket.on('framesent', ({ payload }) => JSON.parse(payload).type === 'subscribe' && resolve());
      socket.on('socketerror', (error) => reject(new Failure(`the WebSocket ${socket.url()} failed: ${error}`)));
      socket.on('close', () => reject(new Failure(`the WebSocket ${socket.url()} was closed`)));
    });
  });
}

/** A Monaco worker by the name of its file; without one Monaco falls back to the main thread and complains only in the console. */
async function workerOf(page, name) {
  const wanted = (worker) => worker.url().includes(`${name}.worker`);
  if (!page.workers().some(wanted)) await page.waitForEvent('worker', wanted);
}

/**
 * Publish until the live tab shows a change. Nothing tells when the server has begun to listen for a `subscribe` it was
 * sent, so the first event may be too early; more than that would be a fault.
 */
async function publishUntilSeen(page, apiKey, before) {
  for (let n = 1; n <= PUBLISHES_MAX; n += 1) {
    waitingFor = 'the answer to eventPublish';
    const id = await publish(apiKey);
    step(`event ${id} is published`);
    waitingFor = 'a message with kind CHANGE in the live tab';
    try {
      await paneWith(page, ['"kind": "CHANGE"'], { old: before, timeout: LIVE_MS });
      step('the live tab shows a change');
      return;
    } catch (error) {
      if (!(error instanceof errors.TimeoutError)) throw error;
      console.log(`--   no change within ${LIVE_MS / 1000} s; the response pane shows: ${(await pane(page)) || 'nothing'}`);
    }
  }
  throw new Failure(`the live tab showed none of ${PUBLISHES_MAX} published events`);
}

async function publish(apiKey) {
  const response = await fetch(new URL('/graphql', base), {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': apiKey },
    body: JSON.stringify({
      query: PUBLISH,
      variables: { input: { eventType: 'sms.outbound', payload: { text: 'from the browser test' } } },
    }),
  });
  const text = await response.text();
  if (!response.ok) throw new Failure(`eventPublish was answered with ${response.status}: ${text}`);
  const { data, errors: failed } = JSON.parse(text);
  if (failed || data.eventPublish.userErrors.length) throw new Failure(`eventPublish was refused: ${text}`);
  return data.eventPublish.event.id;
}

function pane(page) {
  return page.evaluate(() => responseText());
}

/** Waits until the response pane shows something that is not `old` and contains every one of `parts`; returns it. */
async function paneWith(page, parts, { old = '', timeout } = {}) {
  const handle = await page.waitForFunction(
    ({ parts, old }) => {
      const text = responseText();
      return text !== '' && text !== old && parts.every((part) => text.includes(part)) && text;
    },
    { parts, old },
    { timeout, polling: 20 },
  );
  await page.locator('.graphiql-response .view-line').first().waitFor();
  return handle.jsonValue();
}

function step(done) {
  console.log(`ok   ${done}`);
}

function sentence(error) {
  // Playwright adds lines of its own log.
  return error instanceof Failure ? error.message : `while waiting for ${waitingFor}: ${error.message.split('\n')[0]}`;
}
