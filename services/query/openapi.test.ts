import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import * as fc from 'fast-check';
import { request } from 'undici';
import { registry } from '../runtime/listener/json.ts';
import { limitedFields } from '../runtime/listener/openapi/limits.ts';
import {
  bodies,
  bodiesOf,
  fetchOpenApi,
  type OpenApiDocument,
  problemsOf,
} from '../runtime/testing/openapi.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

let harness: QueryHarness;
let document: OpenApiDocument;

before(async () => {
  harness = await startQuery();
  document = await fetchOpenApi(harness.server.address);
});
after(() => harness.stop());

test('a linter and the schema of OpenAPI 3.1 find nothing', async () => {
  assert.deepEqual(await problemsOf(document), []);
});

test('they would find something', async () => {
  const { components, ...rest } = document;
  assert.notDeepEqual(await problemsOf({ ...rest, components: { ...components, schemas: {} } }), []);
});

test('plain addresses, those of Connect, and the comments of the contract are in it', () => {
  const addresses = Object.keys(document.paths);
  for (const address of [
    '/v1/search',
    '/v1/search-by-vector',
    '/v1/search-stream',
    '/v1/encode',
    '/v1/familiarity',
    '/v1/describe',
    '/scalingnote.v1.QueryService/Search',
  ]) {
    assert.ok(addresses.includes(address), address);
  }
  const { limit } = document.components.schemas['SearchRequest']!['properties'] as Record<string, object>;
  assert.deepEqual(limit, {
    description: 'How many documents to return, 1 to 1000; default 10.',
    type: 'integer',
    format: 'int64',
    minimum: 1,
    maximum: 1000,
    default: 10,
  });
});

test('each field that has limits is one of the contract', () => {
  for (const [message, field] of limitedFields()) {
    const type = registry.getMessage(`scalingnote.v1.${message}`);
    assert.ok(
      type?.fields.some(({ name }) => name === field),
      `${message}.${field}`,
    );
  }
});

test('the service takes the languages that the document allows, and no others', async () => {
  const { properties } = document.components.schemas['SearchRequest'] as {
    properties: Record<string, { pattern: string }>;
  };
  const allowed = new RegExp(properties['language']!.pattern, 'u');
  const letters = [...'abcdefghijklmnopqrstuvwxyz'];
  const codes = letters.flatMap((one) => letters.map((other) => one + other));
  codes.push('', 'none', 'tlh', 'eng', 'qqq', 'enn', 'en-US', 'EN', ' en', 'auto');
  const taken = { valid: 0, invalid: 0 };
  for (const language of codes) {
    const refusal = await harness.search({ mode: 'SEARCH_MODE_SPARSE', language }).then(
      () => undefined,
      ({ code }: { code: status }) => code,
    );
    const should = allowed.test(language);
    taken[should ? 'valid' : 'invalid']++;
    assert.equal(refusal !== status.INVALID_ARGUMENT, should, `"${language}"`);
  }
  assert.ok(taken.valid > 150 && taken.invalid > 150, JSON.stringify(taken));
});

test('the service takes what the document allows, and refuses what it does not', async () => {
  for (const [path, { schema, isValid }] of bodiesOf(document)) {
    if (path.startsWith('/v1/search-stream') || !path.startsWith('/v1/')) continue;
    const taken = { valid: 0, invalid: 0 };
    await fc.assert(
      fc.asyncProperty(bodies(schema, document), async (body) => {
        const should = isValid(body);
        const answer = await request(`http://${harness.server.address}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        const { code, message } = (await answer.body.json()) as { code?: string; message?: string };
        taken[should ? 'valid' : 'invalid']++;
        // Another space is refused before the vector is looked at.
        if (!should && path === '/v1/search-by-vector' && code === 'failed_precondition') return;
        // A vector of another length than the space has is this service's own affair.
        if (should && path === '/v1/search-by-vector' && /^vector: (has|is zero)/.test(message ?? '')) return;
        assert.equal(
          code === 'invalid_argument',
          !should,
          `${path} ${JSON.stringify(body).slice(0, 2000)}: ${code} ${message}; ${JSON.stringify(isValid.errors)}`,
        );
      }),
      { numRuns: 400 },
    );
    assert.ok(taken.valid > 50 && taken.invalid > 20, `${path}: ${JSON.stringify(taken)}`);
  }
});
