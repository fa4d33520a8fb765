import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { DocumentInput, DocumentRecord } from '../../clients/index.ts';
import { CliError } from '../output/print.ts';
import { openDocuments } from './documents.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-input-'));
after(() => rmSync(folder, { recursive: true }));

async function read(name: string, content: string | Buffer, after = 0): Promise<DocumentRecord[]> {
  const file = join(folder, name);
  writeFileSync(file, content);
  const documents = await openDocuments(file);
  const read: DocumentRecord[] = [];
  for await (const record of documents.records(after)) read.push(record);
  if (content.length > 0) assert.equal(documents.share(), 1);
  return read;
}

function problem(record: DocumentRecord | undefined): string {
  assert.ok(record !== undefined && 'problem' in record);
  return record.problem;
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
  assert.match(problem(records[1]), /^is not JSON: /);
  assert.match(problem(records[2]), /"colour".*"metadata"/);
  assert.deepEqual('document' in records[3]! && (records[3].document as DocumentInput).metadata, { a: [1] });
});

test('gzip is told by its first bytes, whatever the file is called', async () => {
  assert.deepEqual(await read('b.jsonl', gzipSync(LINES)), await read('c.jsonl', LINES));
});

test('a broken archive is an error that names the file', async () => {
  await assert.rejects(read('d.jsonl.gz', gzipSync(LINES).subarray(0, 40)), /d\.jsonl\.gz: /);
  // Read late, as when a service has to be asked first.
  const { records } = await openDocuments(join(folder, 'd.jsonl.gz'));
  await new Promise((resolve) => setTimeout(resolve, 100));
  await assert.rejects(records(0)[Symbol.asyncIterator]().next(), /d\.jsonl\.gz: unexpected end of file/);
});

test('what was read before is passed over', async () => {
  assert.deepEqual(
    (await read('after.jsonl', LINES, 4)).map(({ line }) => line),
    [5],
  );
  assert.deepEqual(
    (await read('after.csv', 'id,text\n1,a\nbroken\n2,b\nbroken\n', 3)).map(({ line }) => line),
    [4, 5],
  );
});

test('every wrong key is told with what to write instead', async () => {
  const records = await read(
    'wrong.jsonl',
    ['[]', '7', '{"text":"x"}', '{"id":7}', '{"id":"a","text":["x"]}', '{"id":"a","metadata":[]}'].join('\n'),
  );
  assert.deepEqual(records.map(problem), [
    'is not a JSON object; write {"id": ..., "title": ..., "text": ...}',
    'is not a JSON object; write {"id": ..., "title": ..., "text": ...}',
    '"id" must be a text that is not empty',
    '"id" must be a text that is not empty',
    '"text" must be a text',
    '"metadata" must be an object',
  ]);
});

test('CSV columns become fields, and metadata.KEY becomes metadata', async () => {
  const records = await read(
    'e.csv',
    '\uFEFFid,title,text,version,metadata.pos\n1,"a ""b""","line\nbreak",3,noun\n\n2,,x,,\n',
  );
  assert.deepEqual(records, [
    {
      line: 3,
      document: { id: '1', title: 'a "b"', text: 'line\nbreak', version: 3, metadata: { pos: 'noun' } },
    },
    { line: 5, document: { id: '2', title: '', text: 'x', version: 0, metadata: { pos: '' } } },
  ]);
});

test('a CSV record that is wrong is one problem with its line; the rest goes on', async () => {
  const records = await read(
    'wrong.csv',
    'id,text\n1,a\n2\n3,b,c\n4,"so" to speak\n5,e\n6,"never closed\n7,g\n',
  );
  assert.deepEqual(
    records.filter((each) => 'document' in each).map(({ line }) => line),
    [2, 5, 6],
  );
  assert.equal('document' in records[3]! && (records[3].document as DocumentInput).text, '"so" to speak');
  const problems = records.filter((each) => 'problem' in each);
  assert.deepEqual(
    problems.map(({ line }) => line),
    [3, 4, 8],
  );
  assert.match(problem(problems[0]), /columns length is 2, got 1/);
  assert.match(problem(problems[2]), /Quote Not Closed/);
});

test('a CSV column that nobody knows is refused with the fix', async () => {
  await assert.rejects(read('f.csv', 'id,colour\n1,red\n'), /f\.csv: column "colour".*"metadata\.colour"/);
  await assert.rejects(read('g.csv', 'title\nx\n'), /"id"/);
});

test('bytes that are not UTF-8 are told, and never replaced', async () => {
  const latin = Buffer.from('{"id":"1","text":"caf\u00e9"}\n{"id":"2","text":"x"}\n', 'latin1');
  const records = await read('latin.jsonl', latin);
  assert.match(problem(records[0]), /not UTF-8/);
  assert.ok('document' in records[1]!);
  await assert.rejects(
    read('latin.csv', Buffer.from('id,text\n1,caf\u00e9\n', 'latin1')),
    /latin\.csv: holds bytes that are not UTF-8/,
  );
});

test('an empty file has no documents, and one that cannot be read is an error in one line', async () => {
  assert.deepEqual(await read('h.jsonl', ''), []);
  assert.deepEqual(await read('h.csv', ''), []);
  const missing = join(folder, 'nowhere');
  await assert.rejects(openDocuments(missing), new CliError(`there is no file ${missing}`));
  await assert.rejects(openDocuments(folder), CliError);
});
