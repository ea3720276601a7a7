// Runs every audit of the npm package graphql-http, the reference for GraphQL over HTTP, on a server.
//
//   npm ci && node audit.mjs <graphql-url>
//
// API_KEY   key to send; none if unset
//
// Prints one line for each audit that fails, whatever its level, and a count. Exits with 0 if all pass, or with 1.
import { auditServer } from 'graphql-http';

const [url] = process.argv.slice(2);
if (!url) {
  console.error('usage: node audit.mjs <graphql-url>');
  process.exit(1);
}
const fetchFn = (target, init = {}) => {
  const headers = { ...init.headers };
  if (process.env.API_KEY) headers['x-api-key'] = process.env.API_KEY;
  return fetch(target, { ...init, headers });
};

const results = await auditServer({ url, fetchFn });
const failures = results.filter(({ status }) => status !== 'ok');
for (const { status, id, name, reason } of failures) console.log(`${status} ${id} ${name}: ${reason}`);
console.log(`${results.length - failures.length} of ${results.length} audits passed`);
process.exit(results.length > 0 && failures.length === 0 ? 0 : 1);
