import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { optionalTool } from './testing/optional-tool.ts';
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

describe('every client behaves as the table says', () => {
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

  const python = optionalTool('python-client');
  if (python.skip !== false) test('Python', { skip: python.skip });
  for (const path of python.skip === false ? besides(python.path) : []) {
    for (const file of readdirSync(`${ROOT}clients/python/tests`).filter((each) => /^test_/.test(each))) {
      test(`Python, ${basename(dirname(dirname(path)))}: ${file}`, async (context) => {
        if (unavailable()) return context.skip(unavailable());
        const child = spawn(path, ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', `tests/${file}`], {
          cwd: `${ROOT}clients/python`,
          env: {
            ...process.env,
            DOCUMENT_ADDRESS: pair!.addresses.document,
            QUERY_ADDRESS: pair!.addresses.query,
            PYTHONDONTWRITEBYTECODE: '1',
          },
        });
        let said = '';
        for (const stream of [child.stdout, child.stderr])
          stream.on('data', (chunk: Buffer) => (said += chunk));
        const [code] = (await once(child, 'close')) as [number | null];
        const missing = /^not tested: .*$/m.exec(said)?.[0];
        if (missing !== undefined) {
          process.stderr.write(`${missing}\n`);
          return context.skip(missing);
        }
        assert.equal(code, 0, said);
        const passed = Number(/(\d+) passed/.exec(said)?.[1]);
        // The table once with asyncio, and once without.
        assert.ok(passed >= (file === 'test_behaviour.py' ? 2 * TABLE.cases.length : 1), said);
      });
    }
  }
});

/** An interpreter, and those that `npm run python-client -- --all` made beside it. */
function besides(python: string): string[] {
  if (process.env['PYTHON_CLIENT'] !== undefined) return [python];
  // FOLDER/python-client/bin/python; the others are FOLDER/python-client-NAME/bin/python.
  const folder = dirname(dirname(python));
  const others = readdirSync(dirname(folder)).filter((name) => name.startsWith(`${basename(folder)}-`));
  const paths = others.map((name) => join(dirname(folder), name, 'bin', 'python'));
  return [python, ...paths.filter((path) => existsSync(path))];
}
