// Writes `contract.ts` beside this file: what a page may ask the query service, and what it answers, taken from
// `proto/contract.ts`. `npm run proto` runs this after that file is made.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const PACKAGE = 'scalingnote.v1.';
const REQUESTS = ['SearchRequest', 'SearchByVectorRequest'];
const RESPONSES = ['SearchResponse'];

const source = readFileSync(new URL('../../proto/contract.ts', import.meta.url), 'utf8');
const contract = JSON.parse(source.slice(source.indexOf('= ') + 2, source.lastIndexOf(';')));

/** What JSON has for a scalar or for a message of Google's. */
const JSON_TYPES = {
  string: 'string',
  bool: 'boolean',
  double: 'number',
  float: 'number',
  int32: 'number',
  uint32: 'number',
  uint64: 'string',
  int64: 'string',
  bytes: 'string',
  'google.protobuf.Value': 'string | number | boolean',
  'google.protobuf.Struct': 'Record<string, unknown>',
  'google.protobuf.Timestamp': 'string',
};

function entryOf(name) {
  let at = contract;
  for (const part of name.split('.')) at = at?.nested?.[part];
  return at;
}

/** Messages and enums that a request or an answer holds, by their short names. */
function reachable(names, found = new Map()) {
  for (const name of names) {
    const entry = entryOf(PACKAGE + name);
    if (JSON_TYPES[name] !== undefined || found.has(name)) continue;
    if (entry === undefined)
      throw new Error(`${name} is not in the contract, and no type of JSON is known for it`);
    found.set(name, entry);
    if (entry.fields)
      reachable(
        Object.values(entry.fields).map(({ type }) => type),
        found,
      );
  }
  return found;
}

const requests = reachable(REQUESTS);
const all = reachable(RESPONSES, new Map(requests));

const comment = (text, indent) =>
  text ? `${indent}/** ${text.replaceAll('*/', '* /').replaceAll('\n', `\n${indent} * `)} */\n` : '';

function typeText(name, { fields, values }) {
  if (values)
    return `export type ${name} = ${Object.keys(values)
      .map((value) => `'${value}'`)
      .join(' | ')};\n`;
  const lines = Object.entries(fields ?? {}).map(([key, { type, rule, comment: text }]) => {
    const one = JSON_TYPES[type] ?? type;
    return `${comment(text, '  ')}  ${key}?: ${rule === 'repeated' ? `readonly (${one})[]` : one};\n`;
  });
  return `export interface ${name} {\n${lines.join('')}}\n`;
}

const messages = Object.fromEntries(
  [...requests]
    .filter(([, { fields }]) => fields)
    .map(([name, { fields }]) => [
      name,
      Object.fromEntries(
        Object.entries(fields).map(([key, { type, rule }]) => [
          key,
          rule === 'repeated' ? `${type}[]` : type,
        ]),
      ),
    ]),
);
// The oneof of an `optional` field holds nothing else.
const choices = [...requests]
  .filter(([, { oneofs }]) => Object.values(oneofs ?? {}).some(({ oneof }) => oneof.length > 1))
  .map(([name]) => name);
const enums = Object.fromEntries(
  [...requests].filter(([, { values }]) => values).map(([name, { values }]) => [name, Object.keys(values)]),
);

const code = `// Made by "npm run proto"; see write-contract.js.

${[...all].map(([name, entry]) => typeText(name, entry)).join('\n')}
/** Type by field of each message that a request has. */
export const MESSAGES: Readonly<Record<string, Readonly<Record<string, string>>>> = ${JSON.stringify(messages)};

/** Messages of which exactly one field is set. */
export const CHOICES: readonly string[] = ${JSON.stringify(choices)};

/** Names of each enum that a request has. The first one means that nothing was said. */
export const ENUMS: Readonly<Record<string, readonly string[]>> = ${JSON.stringify(enums)};
`;
const out = new URL('contract.ts', import.meta.url);
if (!existsSync(out) || readFileSync(out, 'utf8') !== code) writeFileSync(out, code);
