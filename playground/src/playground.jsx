import { GraphiQL } from 'graphiql';
import { useEffect, useMemo, useState } from 'react';
import { Bar } from './bar.jsx';
import { connect } from './connection.js';
import { loadCredentials, saveCredentials } from './credentials.js';
import { firstTabs } from './tabs.js';

export function Playground({ config }) {
  const [credentials, setCredentials] = useState(() => loadCredentials(config));
  const [lost, setLost] = useState(false);
  const [tabs] = useState(() => firstTabs(config));
  // Another fetcher makes GraphiQL read the schema again.
  const connection = useMemo(() => connect(credentials, setLost), [credentials]);
  useEffect(() => connection.dispose, [connection]);

  function onCredentials(next) {
    saveCredentials(next, config);
    setCredentials(next);
  }

  return (
    <>
      <Bar config={config} credentials={credentials} onCredentials={onCredentials} lost={lost} />
      <main className="playground-editor">
        {/* Headers may hold a key; they are not kept in localStorage. */}
        <GraphiQL fetcher={connection.fetcher} defaultTabs={tabs} shouldPersistHeaders={false}>
          <GraphiQL.Logo>{' '}</GraphiQL.Logo>
        </GraphiQL>
      </main>
    </>
  );
}
