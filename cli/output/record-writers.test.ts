import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import type { FullDocument } from '../../clients/index.ts';
import { readJsonLines } from '../../clients/records.ts';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { CliError } from './print.ts';
import { Documents } from '../input/documents.ts';
import { type ExportFormat, recordWriter } from './record-writers.ts';
import type { RecordParts } from './records.ts';
import { openSink } from './sink.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-export-'));
after(() => rmSync(folder, { recursive: true }));

/** Strings that break careless writers. */
const AWKWARD = [
  'plain',
  'two\nlines\r\n',
  '"quoted", \\ and \t',
  '🙂 \u2028 \uFEFF é',
  'x'.repeat(100_000),
  '',
];

function documentOf(index: number): FullDocument {
  const text = `${AWKWARD[index % AWKWARD.length]} ${index}`;
  return {
    id: `d${index} ${AWKWARD[index % 4]!.slice(0, 20)}`,
    title: AWKWARD[(index + 1) % 4]!,
    text,
    metadata: { n: index / 3, list: [true, null, { deep: AWKWARD[index % 4]! }], 'a."b"': 'c' },
    version: index === 0 ? Number.MAX_SAFE_INTEGER : index,
    ...(index % 2 === 0 && { expiresAt: new Date(4_102_444_800_123 + index) }),
    tenant: `t${index % 3}`,
    contentHash: 'h',
    passages: [
      {
        text,
        span: { start: 0, end: text.length },
        vector: new Float32Array([0.6, -0.8, 1e-7]),
        terms: { ids: [1, 4_000_000_000], weights: [0.5, 1.5] },
      },
    ],
  };
}

const DOCUMENTS = Array.from({ length: 200 }, (_, index) => documentOf(index));

async function write(
  name: string,
  format: ExportFormat,
  documents: readonly FullDocument[],
  parts: RecordParts = {},
): Promise<string> {
  const file = join(folder, name);
  const sink = await openSink(file);
  const writer = recordWriter(format, sink, parts);
  for (const document of documents) await writer.add(document);
  await writer.finish();
  await sink.finish();
  return file;
}

async function* chunks(file: string): AsyncGenerator<Buffer> {
  yield readFileSync(file);
}

/** What a record says, however it is stored. */
const plain = ({ id, title, text, metadata, version, expiresAt }: FullDocument) => ({
  id,
  title,
  text,
  metadata,
  version,
  ...(expiresAt && { expires_at: expiresAt.toISOString() }),
});

test('JSON Lines hold every document as it came, one a line', async () => {
  const lines = readFileSync(await write('a.jsonl', 'jsonl', DOCUMENTS), 'utf8').split('\n');
  assert.equal(lines.pop(), '');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line) as unknown),
    DOCUMENTS.map(plain),
  );
});

test('the reader of ingest takes the records back', async () => {
  const eternal = DOCUMENTS.filter(({ expiresAt }) => expiresAt === undefined);
  const read: unknown[] = [];
  for await (const record of readJsonLines(chunks(await write('b.jsonl', 'jsonl', eternal)))) {
    assert.ok('document' in record, JSON.stringify(record));
    read.push(record.document);
  }
  assert.deepEqual(read, eternal.map(plain));
});

test('tenants, passages and missing texts are written where they are asked for, and nowhere else', async () => {
  const [one] = DOCUMENTS;
  const parts = { vectors: true, withoutText: true, tenant: true };
  const line = readFileSync(await write('c.jsonl', 'jsonl', [one!], parts), 'utf8');
  const { text: _, ...rest } = plain(one!);
  assert.deepEqual(JSON.parse(line), {
    ...rest,
    tenant: 't0',
    passages: [
      {
        start: 0,
        end: one!.text!.length,
        vector: Array.from(new Float32Array([0.6, -0.8, 1e-7])),
        terms: { ids: [1, 4_000_000_000], weights: [0.5, 1.5] },
      },
    ],
  });
});

test('Parquet holds the same, in several row groups, by hyparquet', async () => {
  const file = await asyncBufferFromFile(await write('a.parquet', 'parquet', DOCUMENTS));
  assert.ok((await parquetMetadataAsync(file)).row_groups.length > 0);
  const rows = await parquetReadObjects({ file });
  assert.deepEqual(
    rows.map(({ expires_at: expires, ...row }) => ({
      ...row,
      version: Number(row['version']),
      ...(expires instanceof Date && { expires_at: expires.toISOString() }),
    })),
    DOCUMENTS.map(plain),
  );
});

test('Parquet that is read again keeps nulls and every key of the metadata', async () => {
  const metadata = JSON.parse(
    '{"none":null,"__proto__":"p","a":{"b":null,"__proto__":{"c":1}},"a.b":[null]}',
  ) as FullDocument['metadata'];
  const path = await write('keys.parquet', 'parquet', [{ ...documentOf(1), metadata }]);
  const documents = await Documents.open([path], { rules: [] });
  const operations: unknown[] = [];
  for await (const record of documents.records({ after: 0, counts: [] })) {
    operations.push('operation' in record && record.operation);
  }
  assert.equal(
    JSON.stringify(operations.map((operation) => (operation as { metadata: unknown }).metadata)),
    JSON.stringify([metadata]),
  );
});

test('a row group ends at its bytes, so that memory stays flat', async () => {
  const long = DOCUMENTS.slice(0, 30).map((document) => ({ ...document, text: 'y'.repeat(1_000_000) }));
  const file = await asyncBufferFromFile(await write('long.parquet', 'parquet', long));
  const { row_groups: groups } = await parquetMetadataAsync(file);
  assert.deepEqual(
    groups.map(({ num_rows: rows }) => Number(rows)),
    [9, 9, 9, 3],
  );
});

test('an empty collection is an empty file that readers take', async () => {
  assert.equal(readFileSync(await write('empty.jsonl', 'jsonl', []), 'utf8'), '');
  const file = await asyncBufferFromFile(await write('empty.parquet', 'parquet', []));
  assert.deepEqual(await parquetReadObjects({ file }), []);
});

const python = optionalTool('python3', { modules: ['pyarrow'] });

test('Parquet holds the same, by Apache Arrow', { skip: python.skip }, async () => {
  const file = await write('arrow.parquet', 'parquet', DOCUMENTS, { tenant: true, vectors: true });
  const script = `
import json, sys, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
rows = table.to_pylist()
for row in rows:
    at = row.pop("expires_at")
    if at is not None: row["expires_at"] = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
    for key in ("metadata", "passages"): row[key] = json.loads(row[key])
sys.stdout.write(json.dumps(rows))`;
  const rows = JSON.parse(
    execFileSync(python.path!, ['-c', script, file], { maxBuffer: 1 << 28, encoding: 'utf8' }),
  ) as Record<string, unknown>[];
  assert.deepEqual(
    rows.map(({ tenant, passages, ...row }) => ({
      ...row,
      tenant,
      passages: (passages as unknown[]).length,
    })),
    DOCUMENTS.map((document) => ({ ...plain(document), tenant: document.tenant, passages: 1 })),
  );
});

test('a file has its name when it is whole, and what failed leaves nothing', async () => {
  const file = join(folder, 'late.jsonl');
  const sink = await openSink(file);
  await sink.write('x');
  assert.ok(!readdirSync(folder).includes('late.jsonl'));
  await sink.discard();
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('late')),
    [],
  );
  writeFileSync(join(folder, 'blocked'), '');
  await assert.rejects(openSink(join(folder, 'blocked', 'x.jsonl')), CliError);
});
