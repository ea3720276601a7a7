// sessionStorage, not localStorage: a key is gone with the tab, and no other tab sees it.
const KEY = 'angarium:apiKey';
const WORKSPACE = 'angarium:workspace';

/** What was typed into this tab, or else the key that `angarium dev` wrote into the page. */
export function loadCredentials(config) {
  return {
    apiKey: sessionStorage.getItem(KEY) ?? config.apiKey ?? '',
    workspace: sessionStorage.getItem(WORKSPACE) ?? '',
  };
}

/** Keep what differs from the page's own key: a key the server made anew must not lose to an old copy. */
export function saveCredentials({ apiKey, workspace }, config) {
  keep(KEY, apiKey === (config.apiKey ?? '') ? '' : apiKey);
  keep(WORKSPACE, workspace);
}

function keep(name, value) {
  if (value) sessionStorage.setItem(name, value);
  else sessionStorage.removeItem(name);
}
