// Does a query, a mutation and a live subscription with each of the client libraries that frontends use.
//
//   npm ci && node libraries.mjs <url of /graphql>
//
// API_KEY  key of a workspace, with the scopes EVENT_PUBLISH and EVENT_READ; the type `invoice.paid` is in the catalogue
//
// Prints a line for each library; exits with 1 and a sentence when one of them fails or takes too long.
import { isDeepStrictEqual } from 'node:util';
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql as apolloGql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { Client as UrqlClient, fetchExchange, subscriptionExchange } from '@urql/core';
import { getMainDefinition } from '@apollo/client/utilities';
import { createClient as createSse } from 'graphql-sse';
import { createClient as createWs } from 'graphql-ws';
import { WebSocket } from 'ws';

const LIMIT_MS = 30_000;
const PUBLISH_EVERY_MS = 100;
const QUERY = '{ viewer { workspace { id } scopes } serverInfo { version } }';
const MUTATION = `mutation Publish($payload: JSON!) {
  eventPublish(input: { eventType: "invoice.paid", payload: $payload }) { event { id payload } userErrors { code } }
}`;
const SUBSCRIPTION = 'subscription { eventPublished { kind cursor event { id payload } } }';

const [url] = process.argv.slice(2);
const key = process.env.API_KEY;
if (!url || !key) {
  console.error('usage: API_KEY=… node libraries.mjs <url of /graphql>');
  process.exit(2);
}
const headers = { 'x-api-key': key };
const newSocket = () =>
  createWs({
    url: url.replace(/^http/, 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: { apiKey: key },
    retryAttempts: 0,
  });

/** The first result of a client that takes a sink, as graphql-ws and graphql-sse do. */
const first = (client, query, variables) =>
  new Promise((resolve, reject) => {
    const stop = client.subscribe(
      { query, variables },
      {
        next: (result) => {
          resolve(result);
          setImmediate(() => stop());
        },
        error: reject,
        complete: () => reject(new Error('ended without a result')),
      },
    );
  });

/** What is asked of each library: `once` for one result, `live` for the first message of a stream. */
const libraries = {
  'graphql-ws': () => {
    const client = newSocket();
    const once = (query, variables) => first(client, query, variables);
    return { once, live: once, close: () => client.dispose() };
  },
  'graphql-sse': () => {
    const client = createSse({ url, headers, retryAttempts: 0 });
    const once = (query, variables) => first(client, query, variables);
    return { once, live: once, close: () => client.dispose() };
  },
  '@urql/core': () => {
    const socket = newSocket();
    const forwardSubscription = (operation) => ({
      subscribe: (sink) => ({ unsubscribe: socket.subscribe({ ...operation, query: operation.query ?? '' }, sink) }),
    });
    const client = new UrqlClient({
      url,
      fetchOptions: { headers },
      preferGetMethod: false,
      exchanges: [fetchExchange, subscriptionExchange({ forwardSubscription })],
    });
    const once = (query, variables) =>
      query.startsWith('mutation') ? client.mutation(query, variables) : client.query(query, variables);
    const live = (query) =>
      new Promise((resolve) => {
        const { unsubscribe } = client.subscription(query, {}).subscribe((result) => {
          resolve(result);
          setImmediate(() => unsubscribe());
        });
      });
    return { once, live, close: () => socket.dispose() };
  },
  '@apollo/client': () => {
    const socket = newSocket();
    const isSubscription = ({ query }) => getMainDefinition(query).operation === 'subscription';
    const link = ApolloLink.split(isSubscription, new GraphQLWsLink(socket), new HttpLink({ uri: url, headers }));
    const client = new ApolloClient({ cache: new InMemoryCache(), link });
    const once = (query, variables) =>
      query.startsWith('mutation')
        ? client.mutate({ mutation: apolloGql(query), variables })
        : client.query({ query: apolloGql(query), variables });
    const live = (query) =>
      new Promise((resolve, reject) => {
        const running = client.subscribe({ query: apolloGql(query) }).subscribe({
          next: (result) => {
            resolve(result);
            setImmediate(() => running.unsubscribe());
          },
          error: reject,
        });
      });
    return { once, live, close: () => socket.dispose() };
  },
};

function check(holds, sentence, found) {
  if (!holds) throw new Error(`${sentence}: ${JSON.stringify(found)}`);
}

async function drive(open) {
  const { once, live, close } = open();
  const queried = await once(QUERY);
  check(queried.data?.viewer?.workspace?.id?.startsWith('ws_'), 'the query does not tell the workspace', queried);

  const payload = { total: 12.5, text: 'é' };
  const published = await once(MUTATION, { payload });
  const event = published.data?.eventPublish?.event;
  // Some libraries send the keys of variables in another order.
  check(isDeepStrictEqual(event?.payload, payload), 'the mutation does not publish', published);

  // A client does not tell when the server has heard its subscription, so events go out until it has seen one.
  const seen = live(SUBSCRIPTION);
  const publishing = setInterval(() => Promise.resolve(once(MUTATION, { payload })).catch(() => {}), PUBLISH_EVERY_MS);
  const message = await seen.finally(() => clearInterval(publishing));
  const update = message.data?.eventPublished;
  check(update?.kind === 'CHANGE' && update.event.id.startsWith('evt_'), 'the stream tells no event', message);
  await close();
}

setTimeout(() => {
  console.error(`not done within ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS);
for (const [name, open] of Object.entries(libraries)) {
  try {
    await drive(open);
  } catch (error) {
    console.error(`${name} failed: ${error.message ?? JSON.stringify(error)}`);
    process.exit(1);
  }
  console.log(`${name}: query, mutation and subscription`);
}
process.exit(0);
