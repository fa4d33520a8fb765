import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { request } from 'undici';
import { bodies, bodiesOf, fetchOpenApi, problemsOf } from '../runtime/testing/openapi.ts';
import { startHarness } from './testing/harness.ts';

test('the document service takes what its document allows, and refuses what that does not', async (context) => {
  const { server, stop } = await startHarness();
  context.after(stop);
  const document = await fetchOpenApi(server.address);
  assert.deepEqual(await problemsOf(document), []);
  for (const [path, { schema, isValid }] of bodiesOf(document)) {
    if (!path.startsWith('/v1/')) continue;
    const taken = { valid: 0, invalid: 0 };
    await fc.assert(
      fc.asyncProperty(bodies(schema, document), async (body) => {
        const should = isValid(body);
        const answer = await request(`http://${server.address}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        const { code, message } = (await answer.body.json()) as { code?: string; message?: string };
        taken[should ? 'valid' : 'invalid']++;
        // The token of a page is the store's own affair.
        if (should && path === '/v1/list-documents' && (body as { pageToken?: string }).pageToken) return;
        // That two fields have to be equal, no schema can say.
        if (should && path === '/v1/drop-tenant') return;
        const what = `${path} ${JSON.stringify(body).slice(0, 2000)}: ${code} ${message}`;
        assert.equal(code === 'invalid_argument', !should, what);
      }),
      { numRuns: 200 },
    );
    assert.ok(taken.valid > 5 && taken.invalid > 5, `${path}: ${JSON.stringify(taken)}`);
  }
});
