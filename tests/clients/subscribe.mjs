// Watches deliveries with the npm package graphql-ws, as a frontend would, and prints each message as a line of JSON.
//
//   npm ci && node subscribe.mjs <ws-url> [--until-succeeded]
//
// API_KEY            key to send as connection_init {"apiKey": …}
// --until-succeeded  ends with 0 once a message of kind CHANGE shows a delivery with status SUCCEEDED
//
// "subscribed" on standard error tells that the subscription was sent. Exits with 1 and a sentence on standard error
// when the stream ends, fails, or has not shown what was asked for in time.
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';

const LIMIT_MS = 30_000;
const DOCUMENT = `subscription {
  deliveryUpdated {
    kind
    cursor
    occurredAt
    previousStatus
    delivery { id status attemptCount responseStatusCode }
  }
}`;

const [url, flag] = process.argv.slice(2);
if (!url || (flag && flag !== '--until-succeeded')) {
  console.error('usage: node subscribe.mjs <ws-url> [--until-succeeded]');
  process.exit(1);
}
const untilSucceeded = flag === '--until-succeeded';

const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: () => ({ apiKey: process.env.API_KEY }),
  retryAttempts: 0,
});

function end(code, sentence) {
  if (sentence) console.error(sentence);
  process.exit(code);
}

if (untilSucceeded) {
  setTimeout(() => end(1, `no delivery succeeded within ${LIMIT_MS / 1000} s`), LIMIT_MS);
}
client.on('message', ({ type }) => type === 'connection_ack' && setImmediate(() => console.error('subscribed')));
client.subscribe(
  { query: DOCUMENT },
  {
    next({ data, errors }) {
      if (errors) end(1, `the stream failed: ${JSON.stringify(errors)}`);
      console.log(JSON.stringify(data.deliveryUpdated));
      const { kind, delivery } = data.deliveryUpdated;
      if (untilSucceeded && kind === 'CHANGE' && delivery?.status === 'SUCCEEDED') end(0);
    },
    error(error) {
      // A close event, a list of GraphQL errors, or an Error.
      const reason = error.reason || error.message || JSON.stringify(error);
      end(1, `the stream failed: ${error.code ? `${error.code} ` : ''}${reason}`);
    },
    complete: () => end(1, 'the stream ended'),
  },
);
