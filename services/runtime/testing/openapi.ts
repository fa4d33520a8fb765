import { createConfig, lintFromString } from '@redocly/openapi-core';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import * as fc from 'fast-check';
import { request } from 'undici';

type Json = Record<string, unknown>;

/** A document of OpenAPI, as a service serves it. */
export interface OpenApiDocument extends Json {
  paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: Json }> } }>>;
  components: { schemas: Record<string, Json> };
}

export async function fetchOpenApi(address: string): Promise<OpenApiDocument> {
  const answer = await request(`http://${address}/openapi.json`);
  const document = (await answer.body.json()) as OpenApiDocument;
  if (answer.statusCode !== 200) throw new Error(JSON.stringify(document));
  return document;
}

/** What a linter and the schema of OpenAPI 3.1 find wrong with a document. */
export async function problemsOf(document: OpenApiDocument): Promise<string[]> {
  const source = JSON.stringify(document);
  const config = await createConfig({ extends: ['recommended'] });
  const found = await lintFromString({ source, config });
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  return [
    ...found.map(({ ruleId, message }) => `${ruleId}: ${message}`),
    ...(valid ? [] : [`schema: ${JSON.stringify(errors)}`]),
  ];
}

/** What the body of a request has to be, by address. */
export function bodiesOf(
  document: OpenApiDocument,
): Map<string, { schema: Json; isValid: ValidateFunction }> {
  const ajv = new Ajv2020({ strict: false, formats: FORMATS });
  ajv.addSchema({ ...document, $id: 'doc' });
  const found = new Map<string, { schema: Json; isValid: ValidateFunction }>();
  for (const [path, item] of Object.entries(document.paths)) {
    const schema = item['post']?.requestBody?.content['application/json']?.schema;
    if (!schema) continue;
    const at = ['paths', path, 'post', 'requestBody', 'content', 'application/json', 'schema'];
    const pointer = at.map((part) => encodeURIComponent(part.replaceAll('/', '~1'))).join('/');
    found.set(path, { schema, isValid: ajv.compile({ $ref: `doc#/${pointer}` }) });
  }
  return found;
}

/** They say how a number is kept, which JSON does not see. */
const FORMATS = { double: true, float: true, int64: true, uint64: true, 'date-time': true } as const;

/** What fields may hold, right and wrong. None holds NUL, or characters of more than one byte. */
const TEXTS = [
  '',
  'a',
  'docs',
  'no--good',
  ' ',
  '\u200b',
  'x'.repeat(300),
  'x'.repeat(600),
  'document_id',
  'version',
  'metadata.a',
  'metadata."a b".c',
  'metadata.',
  'metadata.a..b',
  `sp1_${'0'.repeat(32)}`,
  'docs--sp1_00000000',
  `col_${'0'.repeat(32)}.1`,
  'col_0.1',
  // A language, and none.
  'en',
  'qqq',
];

/**
 * Bodies that a schema allows, and bodies that it does not: most follow it, and some differ in one place or another. Which
 * they are, a validator says.
 */
export function bodies(schema: Json, document: OpenApiDocument): fc.Arbitrary<unknown> {
  const usually = <T>(right: fc.Arbitrary<T>, wrong: fc.Arbitrary<T>): fc.Arbitrary<T> =>
    fc.oneof({ arbitrary: right, weight: 24 }, { arbitrary: wrong, weight: 1 });

  const resolve = (given: Json): Json => {
    const { $ref: reference, allOf = [], ...own } = given as { $ref?: string; allOf?: Json[] } & Json;
    const parts = [
      ...(reference === undefined
        ? []
        : [resolve(document.components.schemas[reference.split('/').at(-1)!]!)]),
      ...allOf.map(resolve),
      own,
    ];
    let whole: Json = {};
    for (const part of parts) {
      const merged: Json = Object.assign({}, whole, part);
      const properties = { ...(whole['properties'] as Json) };
      for (const [name, value] of Object.entries((part['properties'] as Json) ?? {})) {
        properties[name] = { ...(properties[name] as Json), ...(value as Json) };
      }
      if (Object.keys(properties).length > 0) merged['properties'] = properties;
      const required = [
        ...((whole['required'] as string[]) ?? []),
        ...((part['required'] as string[]) ?? []),
      ];
      if (required.length > 0) merged['required'] = required;
      whole = merged;
    }
    return whole;
  };

  const anything: fc.Arbitrary<unknown> = fc.constantFrom<unknown>(true, -1, 1.5, 2 ** 40, 'x', [], {}, [1]);

  const value = (given: Json, depth: number): fc.Arbitrary<unknown> => {
    const own = resolve(given);
    const choices = own['enum'] as unknown[] | undefined;
    if ('const' in own) return usually<unknown>(fc.constant(own['const']), anything);
    if (choices) return usually<unknown>(fc.constantFrom(...choices), fc.constantFrom<unknown>('NONE', true));
    const [type] = [own['type']].flat() as (string | undefined)[];
    const of = (kind: string): fc.Arbitrary<unknown> => {
      if (kind === 'object') return object(own, depth);
      if (kind === 'array') return list(own, depth);
      if (kind === 'string') return string(own);
      if (kind === 'boolean') return fc.boolean();
      return number(own, kind === 'integer');
    };
    if (type !== undefined && type !== 'integer' && type !== 'number') return usually(of(type), anything);
    const either = (own['anyOf'] as Json[] | undefined)?.filter((one) => 'type' in one || 'const' in one);
    if (either && either.length > 0) return fc.oneof(...either.map((one) => value(one, depth)));
    return usually(type === undefined ? anything : of(type), anything);
  };

  const object = (own: Json, depth: number): fc.Arbitrary<unknown> => {
    const properties = Object.entries((own['properties'] as Record<string, Json>) ?? {});
    const names = properties.map(([name]) => name);
    const required = new Set(own['required'] as string[]);
    const kept: fc.Arbitrary<string[]> =
      own['maxProperties'] === 1
        ? usually(
            fc.constantFrom(...names.filter((name) => depth > 0 || name !== 'filter')).map((name) => [name]),
            fc.subarray(names),
          )
        : fc
            .tuple(fc.subarray(names), fc.integer({ min: 0, max: 20 }))
            .map(([some, luck]) =>
              names.filter((name) => some.includes(name) || (required.has(name) && luck > 0)),
            )
            .map((some) => (depth > 0 ? some : some.filter((name) => name !== 'filter')));
    return fc
      .tuple(kept, fc.integer({ min: 0, max: 30 }))
      .chain(([some, luck]) =>
        fc.record(
          Object.fromEntries([
            ...some.map((name) => [name, value(properties.find(([key]) => key === name)![1], depth - 1)]),
            ...(luck === 0 ? [['nothingLikeIt', fc.constant(1)]] : []),
          ]) as Record<string, fc.Arbitrary<unknown>>,
        ),
      );
  };

  const list = (own: Json, depth: number): fc.Arbitrary<unknown> => {
    const { minItems: min = 0, maxItems: max } = own as { minItems?: number; maxItems?: number };
    const items = fc.array(value(own['items'] as Json, depth), { minLength: min, maxLength: min + 2 });
    const tooMany = items.map((some) =>
      max === undefined ? some : Array.from({ length: max + 1 }, () => some[0] ?? 'a'),
    );
    return usually<unknown>(items, fc.oneof(tooMany, fc.constant([])));
  };

  const string = ({ pattern, minLength = 0, maxLength = Infinity }: Json): fc.Arbitrary<string> => {
    const fits = TEXTS.filter(
      (text) =>
        text.length >= (minLength as number) &&
        text.length <= (maxLength as number) &&
        (pattern === undefined || new RegExp(pattern as string, 'u').test(text)),
    );
    return usually(fc.constantFrom(...fits), fc.constantFrom(...TEXTS));
  };

  const number = (own: Json, isWhole: boolean): fc.Arbitrary<number> => {
    const { minimum: min = -(2 ** 31), maximum: max = 2 ** 31 } = own as {
      minimum?: number;
      maximum?: number;
    };
    const right = isWhole
      ? fc.oneof(fc.constantFrom(min, max), fc.integer({ min: Math.max(min, -1e9), max: Math.min(max, 1e9) }))
      : fc.oneof(
          fc.constantFrom(min, max),
          fc.double({ min, max, noNaN: true }),
          fc.constantFrom(0, 0.5, -0.5),
        );
    return usually(right, fc.constantFrom(min - 1, max + 1, 0.5));
  };

  return value(schema, 5);
}
