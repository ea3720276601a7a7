import { useState } from 'react';
import icon from './icon.svg';

/** The line above GraphiQL: who asks, for which workspace, and where else to look. */
export function Bar({ config, credentials, onCredentials, lost }) {
  const [draft, setDraft] = useState(credentials);
  const [shown, setShown] = useState(false);
  const edit = (event) => setDraft({ ...draft, [event.target.name]: event.target.value.trim() });

  // Taken over when the field is left or Enter is pressed, not at every letter.
  function commit(event) {
    event.preventDefault();
    const changed = draft.apiKey !== credentials.apiKey || draft.workspace !== credentials.workspace;
    if (changed) onCredentials(draft);
  }

  return (
    <header className="graphiql-container playground-bar">
      <img src={icon} alt="" />
      <strong>Angarium</strong>
      <form onSubmit={commit} onBlur={commit} autoComplete="off">
        <label htmlFor="api-key">API key</label>
        <input
          id="api-key"
          name="apiKey"
          type={shown ? 'text' : 'password'}
          autoComplete="off"
          spellCheck={false}
          placeholder="sk_live_…"
          value={draft.apiKey}
          onChange={edit}
        />
        <button type="button" aria-pressed={shown} aria-controls="api-key" onClick={() => setShown(!shown)}>
          {shown ? 'Hide' : 'Show'}
        </button>
        <label htmlFor="workspace">Workspace</label>
        <input
          id="workspace"
          name="workspace"
          autoComplete="off"
          spellCheck={false}
          placeholder="optional"
          title="An operator's key names the workspace it acts on: ws_… or its external id"
          value={draft.workspace}
          onChange={edit}
        />
        {/* Two fields submit on Enter only if there is a button for it. */}
        <button type="submit" hidden />
      </form>
      <output>{hint(credentials, lost)}</output>
      <nav>
        {config.inboxUrl && <a href="/dev/inbox" target="_blank">Inbox</a>}
        <a href="/schema.graphql" target="_blank">schema.graphql</a>
      </nav>
    </header>
  );
}

function hint(credentials, lost) {
  if (!credentials.apiKey) return 'Enter an API key to load the schema and run requests.';
  return lost ? 'The live stream broke; connecting again…' : '';
}
