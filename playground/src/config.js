/**
 * What the server wrote into the page: `{ apiKey, inboxUrl, dev, exampleDocument }` from `angarium dev`,
 * nothing from `angarium serve`.
 */
export function readConfig() {
  const element = document.getElementById('angarium-config');
  return element ? JSON.parse(element.textContent) : {};
}
