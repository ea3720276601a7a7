// Tells which coordinates of the schema the tests have never executed.
//
//   node coordinates.mjs <schema.graphql> <directory>
//
// The directory holds what the servers of the tests have recorded (`api/src/graphql/coverage.rs`), one coordinate to a
// line. A field of an interface counts as executed when it is on one of its types. Exits with 1 when any is missing.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSchema, isEnumType, isInputObjectType, isInterfaceType, isObjectType } from 'graphql';

const [schemaPath, directory] = process.argv.slice(2);
if (!schemaPath || !directory) {
  console.error('usage: node coordinates.mjs <schema.graphql> <directory>');
  process.exit(2);
}
const schema = buildSchema(readFileSync(schemaPath, 'utf8'));
const executed = new Set(
  readdirSync(directory).flatMap((name) => readFileSync(join(directory, name), 'utf8').split('\n')),
);

/** A coordinate, and the others that stand for it. */
function* coordinates() {
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__')) continue;
    if (isEnumType(type)) {
      for (const { name } of type.getValues()) yield [`${type.name}.${name}`, []];
    } else if (isInputObjectType(type)) {
      for (const name of Object.keys(type.getFields())) yield [`${type.name}.${name}`, []];
    } else if (isObjectType(type) || isInterfaceType(type)) {
      const types = isInterfaceType(type) ? schema.getPossibleTypes(type) : [];
      for (const field of Object.values(type.getFields())) {
        yield [`${type.name}.${field.name}`, types.map((one) => `${one.name}.${field.name}`)];
        for (const argument of field.args) yield [`${type.name}.${field.name}(${argument.name}:)`, []];
      }
    }
  }
}

const all = [...coordinates()];
const missing = all.filter(([name, others]) => ![name, ...others].some((one) => executed.has(one)));
console.log(`${all.length - missing.length} of ${all.length} schema coordinates were executed`);
if (missing.length > 0) {
  console.log(`never executed:\n${missing.map(([name]) => `  ${name}`).join('\n')}`);
  process.exit(1);
}
