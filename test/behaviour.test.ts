import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { optionalTool } from './testing/optional-tool.ts';
import { type Pair, stop, unavailable, up } from './system.ts';
import { DocumentClient, QueryClient, ScalingnoteError } from '../clients/index.ts';
import type { IngestOperation } from '../clients/operation.ts';
import { camelCased, neutralName } from './testing/neutral-names.ts';

/** One case of `cases.json`. */
interface Case {
  name: string;
  call: 'search' | 'encode' | 'ingest' | 'count' | 'delete';
  request: Record<string, unknown>;
  /** Either an error, or what is expected of the answer. */
  expect: Record<string, unknown> & { code?: string; reason?: string; field?: string };
}

/** The repository, from `dist/test`. */
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const TABLE = JSON.parse(readFileSync(`${ROOT}clients/behaviour/cases.json`, 'utf8')) as {
  documents: IngestOperation[];
  cases: Case[];
};
const COLLECTION = 'behaviour';

describe('every client behaves as the table says', () => {
  let pair: Pair | undefined;
  let documents: DocumentClient;
  let queries: QueryClient;
  let fresh = '';

  before(async () => {
    if (unavailable()) return;
    pair = await up('behaviour');
    documents = new DocumentClient({ address: pair.addresses.document });
    queries = new QueryClient({ address: pair.addresses.query });
    const done = await documents.ingest(TABLE.documents, { collection: COLLECTION });
    assert.equal(done.indexed, TABLE.documents.length);
    fresh = done.freshnessToken;
  });

  after(async () => {
    documents?.close();
    queries?.close();
    if (pair) await stop(pair.process);
  });

  for (const { name, call, request, expect } of TABLE.cases) {
    test(`TypeScript, ${call}: ${name}`, async (context) => {
      if (unavailable()) return context.skip(unavailable());
      const asked = { ...(camelCased(request) as Record<string, unknown>) };
      if (expect.code === undefined) {
        const found = await answer(call, asked);
        for (const [key, value] of Object.entries(expect)) assert.deepEqual(found[key], value, key);
        return;
      }
      await assert.rejects(answer(call, asked), (error: unknown) => {
        assert.ok(error instanceof ScalingnoteError, String(error));
        assert.equal(error.code, expect.code, error.message);
        assert.equal(error.reason, expect.reason ?? error.reason, error.message);
        const fields = error.violations.map(({ field }) => neutralName(field));
        if (expect.field !== undefined)
          assert.ok(fields.includes(expect.field), `${fields.join()}: ${error.message}`);
        return true;
      });
    });
  }

  test('Python: the whole table', async (context) => {
    if (unavailable()) return context.skip(unavailable());
    const python = optionalTool('python-client');
    if (python.skip !== false) return context.skip(python.skip);
    const child = spawn(python.path, ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests'], {
      cwd: `${ROOT}clients/python`,
      env: {
        ...process.env,
        DOCUMENT_ADDRESS: pair!.addresses.document,
        QUERY_ADDRESS: pair!.addresses.query,
        PYTHONDONTWRITEBYTECODE: '1',
      },
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk));
    const [code] = (await once(child, 'close')) as [number | null];
    assert.equal(code, 0, said);
    const passed = Number(/(\d+) passed/.exec(said)?.[1]);
    assert.ok(passed >= TABLE.cases.length, said);
    assert.doesNotMatch(said, /skipped/);
  });

  /** What the TypeScript client answers, in the spelling of the table. */
  async function answer(
    call: Case['call'],
    request: Record<string, unknown>,
  ): Promise<Record<string, unknown>> {
    const asked = { collection: COLLECTION, ...request } as never;
    switch (call) {
      case 'search': {
        const isOurs = request['collection'] === undefined;
        const search = { ...(isOurs ? { atLeastAsFreshAs: fresh } : {}), ...(asked as object) } as never;
        const ids = (await queries.search(search)).hits.map(({ id }) => id);
        return { ids, ids_in_any_order: ids.toSorted(), count: ids.length, first: ids[0] };
      }
      case 'encode':
        return { vectors: (await queries.encode(request['texts'] as string[])).embeddings.length };
      case 'ingest': {
        const { operations, ...options } = request;
        const source = operations === 'documents' ? TABLE.documents : (operations as IngestOperation[]);
        const kinds = new Map<number, string>();
        const { watermark } = await documents.ingest(source, {
          collection: COLLECTION,
          ...options,
          onOutcome: ({ sequence, kind }) => kinds.set(sequence, kind),
        });
        const inOrder = [...kinds].toSorted(([one], [other]) => one - other);
        return { outcomes: inOrder.map(([, kind]) => kind), watermark };
      }
      case 'count':
        return { documents: (await documents.count(asked)).documents };
      case 'delete':
        return { documents: (await documents.delete(asked)).documents };
    }
  }
});
