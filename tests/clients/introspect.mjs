// Sends the introspection queries of graphql-js, which GraphiQL and code generators send, and builds a schema of each answer.
//
//   npm ci && node introspect.mjs <url of /graphql> <schema.graphql>
//
// API_KEY  key to send; none if unset
//
// Exits with 1 and a sentence when one is refused, or describes other types than the file.
import { readFileSync } from 'node:fs';
import { buildClientSchema, buildSchema, getIntrospectionQuery } from 'graphql';

const [url, path] = process.argv.slice(2);
if (!url || !path) {
  console.error('usage: node introspect.mjs <url of /graphql> <schema.graphql>');
  process.exit(2);
}
const headers = { 'content-type': 'application/json' };
if (process.env.API_KEY) headers['x-api-key'] = process.env.API_KEY;

/** By default; as GraphiQL asks at first; and with all that there is to ask. */
const asked = {
  default: {},
  GraphiQL: { schemaDescription: true, inputValueDeprecation: true },
  everything: {
    descriptions: true,
    specifiedByUrl: true,
    directiveIsRepeatable: true,
    schemaDescription: true,
    inputValueDeprecation: true,
    oneOf: true,
  },
};
const own = (schema) => Object.keys(schema.getTypeMap()).filter((name) => !name.startsWith('__')).sort();
const wanted = own(buildSchema(readFileSync(path, 'utf8')));

for (const [name, options] of Object.entries(asked)) {
  const body = JSON.stringify({ operationName: 'IntrospectionQuery', query: getIntrospectionQuery(options) });
  const response = await fetch(url, { method: 'POST', headers, body });
  const answer = await response.json();
  if (!response.ok || answer.errors) {
    console.error(`${name}: ${response.status} ${JSON.stringify(answer.errors)}`);
    process.exit(1);
  }
  const found = own(buildClientSchema(answer.data));
  const missing = wanted.filter((type) => !found.includes(type));
  if (missing.length > 0) {
    console.error(`${name}: ${missing.join(', ')} are missing`);
    process.exit(1);
  }
  console.log(`${name}: the same types as in the file, ${found.length}`);
}
