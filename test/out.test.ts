import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { type Harness, startHarness } from '../services/document/testing/harness.ts';
import { TestStore } from '../services/document/testing/test-store.ts';
import { openEmbeddedStore } from '../store/embedded/embedded-store.ts';
import type { Store } from '../store/store.ts';
import type { FullDocument } from '../store/document.ts';

/** Documents out and in again: the command against a document service, and on the folder of its store. */

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-out-'));
const at = (...path: string[]): string => join(folder, ...path);
const EXPIRES = '2100-01-01T00:00:00.250Z';

let store: Store;
let harness: Harness;
/** What the collections are called in the store itself. */
const named = new Map<string, string>();

before(async () => {
  store = await openEmbeddedStore({ directory: at('data') });
  harness = await startHarness({ store: new TestStore(store) });
  const stream = harness.ingest({ collection: 'docs' });
  for (let sequence = 1; sequence <= 700; sequence++) {
    stream.document(sequence, `d${sequence}`, `one ${sequence}|two\n"🙂"`, {
      title: `T ${sequence}`,
      version: sequence,
      metadata: {
        fields: {
          n: { numberValue: sequence / 3 },
          deep: { structValue: { fields: { 'a.b': { nullValue: 'NULL_VALUE' } } } },
        },
      },
      ...(sequence % 2 === 0 && {
        expiresAt: { seconds: Date.parse(EXPIRES) / 1000 - 0.25, nanos: 250_000_000 },
      }),
    });
  }
  await stream.finish();
  await harness.ingest({ collection: 'docs', tenant: 'acme' }).document(1, 'x', 'theirs').finish();
  await harness.ingest({ collection: 'bare', omitText: true }).document(1, 'b', 'secret').finish();
  for (const alias of (await store.aliases()).keys()) named.set(alias.split('-').at(-1)!, alias);
});
after(async () => {
  await harness.stop();
  await store.close();
  rmSync(folder, { recursive: true });
});

/** Runs the command. */
async function scalingnote(
  parameters: string[],
  { input = '' }: { input?: string } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const main = fileURLToPath(new URL('../cli/main.js', import.meta.url));
  const env = { ...process.env, XDG_STATE_HOME: at('state'), SCALINGNOTE_DATA: at('data') };
  const child = spawn(process.execPath, [main, ...parameters], { env });
  child.stdin.end(input);
  const printed = [text(child.stdout), text(child.stderr), once(child, 'exit')] as const;
  const [stdout, stderr, [code]] = await Promise.all(printed);
  return { code: code as number, stdout, stderr };
}

const online = (command: string, ...parameters: string[]): string[] => [
  command,
  ...parameters,
  '--document-address',
  harness.server.address,
];

/** Everything of a collection but when it came there. */
async function contents(from: Store, name: string): Promise<Omit<FullDocument, 'ingested'>[]> {
  const found: Omit<FullDocument, 'ingested'>[] = [];
  for (const tenant of await from.tenants(name)) {
    const { documents } = await from.scroll(name, tenant, { limit: 5000, withVectors: true });
    for (const document of documents) {
      delete document.ingested;
      found.push(document);
    }
  }
  return found;
}

test('an export that is ingested again is the same, byte by byte, and encodes the same', async () => {
  const first = await scalingnote(online('export', '-c', 'docs'));
  assert.equal(first.code, 0, first.stderr);
  assert.equal(first.stdout.split('\n').length, 701);
  const ingested = await scalingnote(online('ingest', '-', '-c', 'again'), { input: first.stdout });
  assert.equal(ingested.code, 0, ingested.stderr);
  const second = await scalingnote(online('export', '-c', 'again'));
  assert.equal(second.stdout, first.stdout);
  for (const alias of (await store.aliases()).keys()) named.set(alias.split('-').at(-1)!, alias);
  const mine = (await contents(store, named.get('docs')!)).filter(({ tenant }) => tenant === '');
  assert.deepEqual(await contents(store, named.get('again')!), mine);
});

test('a Parquet file has the same records, and the summary says how many', async () => {
  const { code, stdout, stderr } = await scalingnote(
    online('export', '-c', 'docs', '--all-tenants', '--out', at('docs.parquet'), '--json'),
  );
  assert.equal(code, 0, stderr);
  const { documents, format, identity } = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual([documents, format], [701, 'parquet']);
  assert.match(String(identity), /^col_/);
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile(at('docs.parquet')) });
  const d2 = rows.find(({ id }) => id === 'd2')!;
  assert.deepEqual(
    { ...d2, expires_at: (d2['expires_at'] as Date).toISOString(), version: Number(d2['version']) },
    {
      id: 'd2',
      title: 'T 2',
      text: 'one 2|two\n"🙂"',
      metadata: { n: 2 / 3, deep: { 'a.b': null } },
      version: 2,
      expires_at: EXPIRES,
      tenant: '',
    },
  );
  assert.equal(rows.filter(({ tenant }) => tenant === 'acme').length, 1);
});

test('where texts are not stored, an export says so first, and gives what is there where that is wanted', async () => {
  const refused = await scalingnote(online('export', '-c', 'bare', '--out', at('bare.jsonl')));
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /"b".*--omit-text.*--without-text/);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('bare')),
    [],
  );
  assert.equal((await scalingnote(online('export', '-c', 'bare'))).stdout, '');
  const given = await scalingnote(online('export', '-c', 'bare', '--without-text', '--vectors'));
  const record = JSON.parse(given.stdout) as { passages: { vector: number[] }[] };
  assert.ok(!('text' in record));
  assert.ok(record.passages[0]!.vector.length > 0);
});

test('get prints documents, and names those that are not there', async () => {
  const { code, stdout, stderr } = await scalingnote(online('get', 'd2', 'nobody', '-c', 'docs', '--json'));
  assert.equal(code, 1);
  assert.match(stderr, /not in "docs": "nobody"/);
  const { documents, missing } = JSON.parse(stdout) as { documents: { text: string }[]; missing: string[] };
  assert.deepEqual([documents[0]!.text, missing], ['one 2|two\n"🙂"', ['nobody']]);
  const shown = await scalingnote(online('get', 'd2', '-c', 'docs', '--vectors'));
  assert.match(shown.stdout, /d2 {2}version 2, 2 passages, expires 2100.*\nT 2\n[^]*one 2[^]*passage 1: \[/);
});

test('a reader that has enough ends an export without a word', async () => {
  const main = fileURLToPath(new URL('../cli/main.js', import.meta.url));
  const child = spawn(process.execPath, [main, ...online('export', '-c', 'docs')]);
  child.stdout.once('data', () => child.stdout.destroy());
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  assert.deepEqual([code, stderr.replaceAll(/^export .*\n/gm, '')], [0, '']);
});

test('backup, restore and copy work on the folder while the service goes on', async () => {
  const docs = named.get('docs')!;
  const backup = await scalingnote(['backup', '--to', at('backup'), '--json']);
  assert.equal(backup.code, 0, backup.stderr);
  const restored = await scalingnote(['restore', '--from', at('backup'), '--data', at('restored'), '--json']);
  assert.equal(restored.code, 0, restored.stderr);
  const over = await scalingnote(['restore', '--from', at('backup'), '--data', at('restored')]);
  assert.deepEqual([over.code, /--replace/.test(over.stderr)], [1, true]);
  const flags = `--from embedded --to embedded --to-data ${at('copied')} -c ${docs} --as docs --json`;
  const copied = await scalingnote(['copy', ...flags.split(' ')]);
  assert.equal(copied.code, 0, copied.stderr);
  const report = JSON.parse(copied.stdout) as { copied: number; documents: number };
  assert.deepEqual([report.copied, report.documents], [701, 701]);
  assert.deepEqual(
    readdirSync(at('state', 'scalingnote')).filter((name) => name.startsWith('copy')),
    [],
  );

  const original = await contents(store, docs);
  const { identity } = await store.findCollection(docs);
  for (const [directory, name] of [
    ['restored', docs],
    ['copied', 'docs'],
  ] as const) {
    const other = await openEmbeddedStore({ directory: at(directory) });
    try {
      assert.deepEqual(await contents(other, name), original);
      assert.notEqual((await other.findCollection(name)).identity, identity);
    } finally {
      await other.close();
    }
  }
});

test('flags that do not fit are refused as wrong usage, and nothing is made', async () => {
  for (const parameters of [
    ['copy', '--from', 'embedded', '--to', 'embedded', '-c', 'docs'],
    ['copy', '--from', 'embedded', '--to', 'qdrant', '--to-data', at('x'), '-c', 'docs'],
    ['copy', '--from', 'embedded', '--from-data', at('nowhere'), '--to', 'embedded', '-c', 'docs'],
    ['backup', '--to', at('x'), '--qdrant-url', 'http://127.0.0.1:1'],
    ['restore', '--from', at('backup'), '--store', 'qdrant', '--replace'],
    online('export', '-c', 'docs', '--tenant', 'a', '--all-tenants'),
    online('export', '-c', 'docs', '--json'),
  ]) {
    const { code, stderr } = await scalingnote(parameters);
    assert.equal(code, 2, `${parameters.join(' ')}: ${stderr}`);
  }
  assert.ok(!existsSync(at('nowhere')) && !existsSync(at('x')));
});
