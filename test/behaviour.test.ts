import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Pair, stop, unavailable, up } from './system.ts';
import { DocumentClient, QueryClient } from '../clients/index.ts';
import type { IngestOperation } from '../clients/operation.ts';
import { assertExpected, type Case, type Clients, perform } from './testing/behaviour.ts';

/** The repository, from `dist/test`. */
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const TABLE = JSON.parse(readFileSync(`${ROOT}clients/behaviour/cases.json`, 'utf8')) as {
  documents: IngestOperation[];
  cases: Case[];
};
const COLLECTION = 'behaviour';

/** The Python client runs the same table: python-client.test.ts. */
describe('the TypeScript client behaves as the table says', () => {
  let pair: Pair | undefined;
  let documents: DocumentClient;
  let queries: QueryClient;
  let clients: Clients;
  let store = '';

  before(async () => {
    if (unavailable()) return;
    pair = await up('behaviour');
    documents = new DocumentClient({ address: pair.addresses.document });
    queries = new QueryClient({ address: pair.addresses.query });
    const done = await documents.ingest(TABLE.documents, { collection: COLLECTION });
    assert.equal(done.indexed, TABLE.documents.length);
    clients = { documents, queries, collection: COLLECTION, table: TABLE.documents, checkpoint: done };
    ({ store } = await queries.describe());
  });

  after(async () => {
    documents?.close();
    queries?.close();
    if (pair) await stop(pair.process);
  });

  for (const row of TABLE.cases) {
    const { name, call, expect } = row;
    test(`TypeScript, ${call}: ${name}`, async (context) => {
      if (unavailable()) return context.skip(unavailable());
      if (row.only_on !== undefined && row.only_on !== store) return;
      if (expect.code !== undefined) {
        await assert.rejects(perform(clients, row), (error: unknown) => assertExpected(error, expect));
        return;
      }
      const found = await perform(clients, row);
      for (const [key, value] of Object.entries(expect)) assert.deepEqual(found[key], value, key);
    });
  }
});
