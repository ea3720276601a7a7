const DEFAULT_DOCUMENT = `# Whose key is this, and what may it do?
query Viewer {
  viewer {
    scopes
    workspace {
      id
      name
    }
  }
}
`;

const LIVE_DOCUMENT = `# Run it, then publish an event from another window:
# its deliveries show up here as they change.
subscription Live {
  deliveryUpdated {
    kind
    cursor
    occurredAt
    previousStatus
    delivery {
      id
      status
      attemptCount
      responseStatusCode
    }
  }
}
`;

const SHOWN = 'angarium:exampleDocument';
const GRAPHIQL_EDITORS = ['query', 'variables', 'headers', 'tabState'];

/**
 * The tabs of a first visit; later GraphiQL finds its own in localStorage. Those belong to the origin, and one
 * 127.0.0.1:8080 sees many servers: when the example is another than last time, the tabs start anew. What was run
 * before stays in the history.
 */
export function firstTabs(config) {
  const example = config.exampleDocument ?? DEFAULT_DOCUMENT;
  if (localStorage.getItem(SHOWN) !== example) {
    for (const name of GRAPHIQL_EDITORS) localStorage.removeItem(`graphiql:${name}`);
    localStorage.setItem(SHOWN, example);
  }
  return [{ query: example }, { query: LIVE_DOCUMENT }];
}
