import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { CliError } from '../output/print.ts';
import { type DocumentRecord, readDocuments } from './documents.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-input-'));
after(() => rmSync(folder, { recursive: true }));

async function read(name: string, content: string | Buffer): Promise<DocumentRecord[]> {
  const file = join(folder, name);
  writeFileSync(file, content);
  const records: DocumentRecord[] = [];
  for await (const record of readDocuments(file, undefined)) records.push(record);
  return records;
}

const LINES =
  '{"_id":"1","title":"t","text":"x"}\n{"id":"2",\n\n{"id":"3","colour":"red"}\n{"id":"4","text":"y","version":7,"metadata":{"a":[1]}}\n';

test('a malformed line in the middle is one problem with its number; the rest goes on', async () => {
  const records = await read('a.jsonl', LINES);
  assert.deepEqual(
    records.map(({ line }) => line),
    [1, 2, 4, 5],
  );
  assert.deepEqual(records[0], {
    line: 1,
    document: { id: '1', title: 't', text: 'x', version: 0, metadata: {} },
  });
  assert.ok('problem' in records[1]!);
  assert.match('problem' in records[2]! ? records[2].problem : '', /"colour".*"metadata"/);
  assert.deepEqual('document' in records[3]! && records[3].document.metadata, { a: [1] });
});

test('gzip is told by its first bytes, whatever the file is called', async () => {
  assert.deepEqual(await read('b.jsonl', gzipSync(LINES)), await read('c.jsonl', LINES));
});

test('a broken archive is an error that names the file', async () => {
  await assert.rejects(read('d.jsonl.gz', gzipSync(LINES).subarray(0, 40)), /d\.jsonl\.gz: /);
});

test('CSV columns become fields, and metadata.KEY becomes metadata', async () => {
  const [record] = await read(
    'e.csv',
    'id,title,text,version,metadata.pos\n1,"a ""b""","line\nbreak",3,noun\n',
  );
  assert.deepEqual(record, {
    line: 1,
    document: { id: '1', title: 'a "b"', text: 'line\nbreak', version: 3, metadata: { pos: 'noun' } },
  });
});

test('a CSV column that nobody knows is refused with the fix', async () => {
  await assert.rejects(read('f.csv', 'id,colour\n1,red\n'), /metadata\.colour/);
  await assert.rejects(read('g.csv', 'title\nx\n'), /"id"/);
});

test('an empty file has no documents, and a missing one is an error in one line', async () => {
  assert.deepEqual(await read('h.jsonl', ''), []);
  await assert.rejects(async () => {
    for await (const _ of readDocuments(join(folder, 'nowhere'), undefined));
  }, CliError);
});
