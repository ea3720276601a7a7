import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphQLError, Kind, parse } from 'graphql';
import { createClient } from 'graphql-ws';

const KEEP_ALIVE_MS = 10_000;
const RETRY_WAIT_MAX_MS = 10_000;

// Close codes after which the same key would only be refused again.
const UNAUTHORIZED = 4401;
const FORBIDDEN = 4403;

/**
 * Queries and mutations by POST, subscriptions by graphql-transport-ws, all to `/graphql` of this host with the
 * same credentials. `onLost(true)` tells that a stream broke and waits to connect again, `onLost(false)` that it tries.
 */
export function connect({ apiKey, workspace }, onLost) {
  const wsClient = createClient({
    url: `${location.origin.replace(/^http/, 'ws')}/graphql`,
    // An empty one is left out, as in the headers.
    connectionParams: () => ({ apiKey: apiKey || undefined, workspace: workspace || undefined }),
    lazy: true,
    keepAlive: KEEP_ALIVE_MS,
    retryAttempts: Infinity,
    shouldRetry: (event) => event.code !== UNAUTHORIZED && event.code !== FORBIDDEN,
    retryWait: async (retries) => {
      onLost(true);
      const wait = Math.min(1000 * 2 ** retries, RETRY_WAIT_MAX_MS);
      await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random() / 2)));
      onLost(false);
    },
  });
  const fetcher = createGraphiQLFetcher({
    url: '/graphql',
    headers: {
      ...(apiKey && { 'X-API-Key': apiKey }),
      ...(workspace && { 'Angarium-Workspace': workspace }),
    },
    wsClient,
    // Angarium answers a POST with one JSON document, never in parts.
    enableIncrementalDelivery: false,
  });
  return {
    fetcher: (params, options) => fetcher(...withOwnDocument(params, options)),
    // A stream that still runs ends with its credentials.
    dispose: () => wsClient.dispose(),
  };
}

/**
 * GraphiQL reads the document 100 ms after it changed, so a request sent at once after a change of tab would still
 * carry the operation of the tab before. Where a document has one operation, that is the one to run.
 */
function withOwnDocument(params, options) {
  try {
    const documentAST = parse(params.query);
    const operations = documentAST.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
    const operationName = operations.length === 1 ? operations[0].name?.value : params.operationName;
    return [{ ...params, operationName }, { ...options, documentAST }];
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    return [params, options]; // the server says what is wrong with it
  }
}
