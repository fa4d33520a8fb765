import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { Documents, type DocumentsOptions, type SourceRecord } from './documents.ts';
import { parseMapRules } from './mapping.ts';

/** See make-parquet.py beside it: row groups of two, zstd. */
const FIXTURE = fileURLToPath(new URL('../../../cli/input/testing/pyarrow.parquet', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-parquet-'));
after(() => rmSync(folder, { recursive: true }));

const RULES = parseMapRules(['id=sku', 'title=name', 'text=body']);

async function read(
  path: string,
  options: DocumentsOptions = { rules: RULES },
  passed = 0,
): Promise<SourceRecord[]> {
  const records: SourceRecord[] = [];
  const documents = await Documents.open([path], options);
  for await (const record of documents.records({ after: passed, counts: [] })) records.push(record);
  assert.deepEqual(documents.failures, []);
  return records;
}

test('what pyarrow wrote is read row by row, and a row that JSON cannot hold is refused by name', async () => {
  const records = await read(FIXTURE);
  assert.deepEqual(
    records.map(({ sequence, line }) => [sequence, line]),
    [1, 2, 3, 4, 5].map((row) => [row, row]),
  );
  const common = {
    at: '2024-05-01T12:30:00.123456Z',
    price: 12.5,
    maker: { name: 'x', since: 1999 },
  };
  assert.deepEqual('operation' in records[0]! && records[0].operation, {
    id: '1',
    title: 'Käse',
    text: 'first',
    version: 0,
    metadata: { views: 7, score: 0.5, good: true, day: '2024-05-01', tags: ['a', 'b'], ...common },
  });
  assert.deepEqual('operation' in records[4]! && records[4].operation, {
    id: '5',
    title: 'e',
    text: 'fifth',
    version: 0,
    metadata: { views: 5, good: true, tags: ['d', null], ...common },
  });
  assert.match(
    'problem' in records[1]! ? records[1].problem : '',
    /^"views": 1234567890123456789 is beyond 2\^53/,
  );
  assert.match('problem' in records[2]! ? records[2].problem : '', /^"score" is NaN/);
});

test('Parquet is told by what it holds: named otherwise, or packed', async () => {
  const expected = await read(FIXTURE);
  const named = join(folder, 'named.jsonl');
  copyFileSync(FIXTURE, named);
  const packed = join(folder, 'packed.parquet.gz');
  writeFileSync(packed, gzipSync(readFileSync(FIXTURE)));
  for (const path of [named, packed]) {
    assert.deepEqual(
      (await read(path)).map((record) => ({ ...record, file: FIXTURE })),
      expected,
    );
  }
});

test('rows that were read before are passed over', async () => {
  const rows = await read(FIXTURE, { rules: RULES }, 3);
  assert.deepEqual(
    rows.map(({ sequence }) => sequence),
    [4, 5],
  );
});

test('columns that nobody knows, and a file that is cut off, are refused by name', async () => {
  await assert.rejects(read(FIXTURE, {}), /pyarrow\.parquet: column "sku" is not known/);
  const cut = join(folder, 'cut.parquet');
  writeFileSync(cut, readFileSync(FIXTURE).subarray(0, -100));
  await assert.rejects(read(cut), /cut\.parquet: its Parquet data can't be read/);
});
