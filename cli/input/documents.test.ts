import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { idOf } from '../../clients/operation.ts';
import type { DocumentInput } from '../../clients/index.ts';
import { CliError } from '../output/print.ts';
import { Documents, type DocumentsOptions, type SourceRecord } from './documents.ts';
import { PLAIN, ZSTD_TWO_FRAMES } from './testing/packed.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-input-'));
after(() => rmSync(folder, { recursive: true }));

async function read(
  name: string,
  content: string | Buffer,
  options: DocumentsOptions = {},
  after = 0,
): Promise<Read> {
  const file = join(folder, name);
  writeFileSync(file, content);
  return readAll(await Documents.open([file], options), after);
}

interface Read {
  records: SourceRecord[];
  failures: string[];
  documents: Documents;
}

async function readAll(documents: Documents, after = 0): Promise<Read> {
  const records: SourceRecord[] = [];
  for await (const record of documents.records({ after, counts: [] })) records.push(record);
  return { records, failures: documents.failures, documents };
}

function problem(record: SourceRecord | undefined): string {
  assert.ok(record !== undefined && 'problem' in record, JSON.stringify(record));
  return record.problem;
}

function operations(records: readonly SourceRecord[]): unknown[] {
  return records.map((record) => ('operation' in record ? record.operation : record.problem));
}

function ids(records: readonly SourceRecord[]): string[] {
  return records.flatMap((record) => ('operation' in record ? [idOf(record.operation)] : []));
}

const LINES =
  '{"_id":"1","title":"t","text":"x"}\n{"id":"2",\n\n{"id":"3","colour":"red"}\n{"id":"4","text":"y","version":7,"metadata":{"a":[1]}}\n';

test('a malformed line in the middle is one problem with its number; the rest goes on', async () => {
  const { records } = await read('a.jsonl', LINES);
  assert.deepEqual(
    records.map(({ sequence, line }) => [sequence, line]),
    [
      [1, 1],
      [2, 2],
      [3, 4],
      [4, 5],
    ],
  );
  assert.deepEqual('operation' in records[0]! && records[0].operation, {
    id: '1',
    title: 't',
    text: 'x',
    version: 0,
    metadata: {},
  });
  assert.match(problem(records[1]), /^is not JSON: /);
  assert.match(problem(records[2]), /"colour".*"metadata"/);
  assert.deepEqual('operation' in records[3]! && (records[3].operation as DocumentInput).metadata, {
    a: [1],
  });
});

test('what is packed is told by its first bytes, whatever the file is called', async () => {
  const plain = operations((await read('c.jsonl', LINES)).records);
  assert.deepEqual(operations((await read('b.jsonl', gzipSync(LINES))).records), plain);
  assert.equal((await read('zstd.csv', ZSTD_TWO_FRAMES)).records.length, 2200);
});

test('a source that is cut off gives what is whole, and is a failure by name', async () => {
  const packed = gzipSync(PLAIN);
  const { records, failures } = await read('d.jsonl.gz', packed.subarray(0, -20));
  assert.ok(records.length > 1000 && records.length <= 2200);
  assert.ok(records.every((record) => 'operation' in record));
  assert.match(failures.join(), /d\.jsonl\.gz: unexpected end of file/);
  const followed = await read('e.jsonl.gz', Buffer.concat([packed, Buffer.from('<html>')]));
  assert.equal(followed.records.length, 2200);
  assert.match(followed.failures.join(), /e\.jsonl\.gz: has bytes after its gzip data/);
  const array = await read('cut.json', '[{"id":"1","text":"a"},\n{"id":"2","text"');
  assert.deepEqual(ids(array.records), ['1']);
  assert.match(array.failures.join(), /cut\.json: unexpected end of file: .*begins in line 2/);
});

test('what was read before is passed over, and the numbers stay', async () => {
  assert.deepEqual(
    (await read('after.jsonl', LINES, {}, 3)).records.map(({ sequence, line }) => [sequence, line]),
    [[4, 5]],
  );
  const { records } = await read('after.csv', 'id,text\n1,a\nbroken\n2,b\nbroken\n', {}, 2);
  assert.deepEqual(
    records.map(({ sequence, line }) => [sequence, line]),
    [
      [3, 4],
      [4, 5],
    ],
  );
});

test('every wrong key is told with what to write instead', async () => {
  const { records } = await read(
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

test('records that reading would change are refused by name', async () => {
  const lines = [
    '{"id":"1","text":"a","metadata":{"views":1234567890123456789}}',
    '{"id":"1","_id":"2","text":"a"}',
    '{"id":"1","text":"a","text":"b"}',
    '{"id":"1","text":"a","metadata":{"x":1e999}}',
    '{"id":"1","text":"a","metadata":{"x":NaN}}',
    '{"id":"1","text":"a","version":0x10}',
    '{"id":"6","text":"a"}',
  ];
  const problems = [
    /^"metadata\.views": 1234567890123456789 is beyond 2\^53/,
    /^"_id" and "id" are the same thing/,
    /^key "text" comes twice/,
    /^"metadata\.x": 1e999 is too large/,
    /^is not JSON/,
    /^is not JSON/,
  ];
  for (const content of [lines.join('\n'), `[${lines.join(',\n')}]`]) {
    const { records } = await read('exact.json', content);
    for (const [index, expected] of problems.entries()) assert.match(problem(records[index]), expected);
    assert.deepEqual(ids(records), ['6']);
    assert.equal(records.at(-1)?.line, 7);
  }
});

test('CSV columns become fields, and metadata.KEY becomes metadata', async () => {
  const { records } = await read(
    'e.csv',
    '\uFEFFid,title,text,version,metadata.pos\n1,"a ""b""","line\nbreak",3,noun\n\n2,,x,,\n',
  );
  assert.deepEqual(
    records.map(({ line }) => line),
    [2, 5],
  );
  assert.deepEqual(operations(records), [
    { id: '1', title: 'a "b"', text: 'line\nbreak', version: 3, metadata: { pos: 'noun' } },
    { id: '2', title: '', text: 'x', version: 0, metadata: { pos: '' } },
  ]);
});

test('a CSV record that is wrong is one problem with its line; the rest goes on', async () => {
  const { records } = await read(
    'wrong.csv',
    'id,text,version\n1,a,\n2\n3,b,0,c\n4,"so" to speak,\n5,e,0x10\nid,text,version\n6,"never closed,\n7,g,9007199254740993\n8,h,8\n',
  );
  assert.deepEqual(ids(records), ['1', '4', '8']);
  assert.equal('operation' in records[3]! && (records[3].operation as DocumentInput).text, '"so" to speak');
  const problems = records.flatMap((record) =>
    'problem' in record ? [`${record.line} ${record.problem}`] : [],
  );
  const expected = [
    /^3 has 1 fields, and the first line names 3 columns/,
    /^4 has 4 fields/,
    /^6 "version" is "0x10", but must be a whole number/,
    /^7 is the line that names the columns, once more/,
    /^8 opens a quote that nothing closes/,
    /^9 "version" is "9007199254740993"/,
  ];
  assert.equal(problems.length, expected.length);
  for (const [index, each] of expected.entries()) assert.match(problems[index]!, each);
});

test('a CSV column that nobody knows is refused with the fix', async () => {
  await assert.rejects(read('f.csv', 'id,colour\n1,red\n'), /f\.csv: column "colour".*"metadata\.colour"/);
  await assert.rejects(read('g.csv', 'title,text\nx,y\n'), /no column is called "id"/);
  await assert.rejects(
    read('h.csv', 'id,text,text\n1,y,z\n'),
    /h\.csv: line 1 names the column "text" twice/,
  );
  await assert.rejects(read('i.csv', 'id,_id,text\n1,y,z\n'), /i\.csv: two columns become "id"/);
});

test('bytes that are not UTF-8 are told, and never replaced', async () => {
  const latin = Buffer.from('{"id":"1","text":"caf\u00e9"}\n{"id":"2","text":"x"}\n', 'latin1');
  const lines = await read('latin.jsonl', latin);
  assert.match(problem(lines.records[0]), /not UTF-8/);
  assert.deepEqual(ids(lines.records), ['2']);
  const table = await read('latin.csv', Buffer.from('id,text\n1,caf\u00e9\n2,x\n', 'latin1'));
  assert.match(problem(table.records[0]), /not UTF-8/);
  assert.deepEqual(ids(table.records), ['2']);
});

test('an empty file has no documents, and one that cannot be read is an error in one line', async () => {
  assert.deepEqual((await read('h.jsonl', '')).records, []);
  assert.deepEqual((await read('h.csv', '', { format: 'csv' })).records, []);
  const missing = join(folder, 'nowhere');
  await assert.rejects(Documents.open([missing]), new CliError(`there is no file ${missing}`));
});

test('files, folders and globs are read one after the other, sorted, each once', async () => {
  const many = join(folder, 'many');
  mkdirSync(join(many, 'b', 'c'), { recursive: true });
  writeFileSync(join(many, 'z.csv'), 'id,text\nz,1\n');
  writeFileSync(join(many, 'b', 'c', 'x.json'), '[{"id":"x1","text":"a"},{"id":"x2","text":"a"}]');
  writeFileSync(join(many, 'a.jsonl.gz'), gzipSync('{"id":"a","text":"t"}\n'));
  writeFileSync(join(many, '.hidden'), '\0');
  const { records, documents } = await readAll(await Documents.open([many]));
  assert.deepEqual(ids(records), ['a', 'x1', 'x2', 'z']);
  assert.deepEqual(
    records.map(({ sequence }) => sequence),
    [1, 2, 3, 4],
  );
  assert.deepEqual(documents.counts, [1, 2, 1]);
  assert.equal(documents.share(), 1);
  const again = await Documents.open([join(many, 'z.csv'), join(many, '**/*.{json,csv}')]);
  assert.deepEqual(ids((await readAll(again)).records), ['z', 'x1', 'x2']);
  const skipped: SourceRecord[] = [];
  for await (const record of documents.records({ after: 2, counts: [1] })) skipped.push(record);
  assert.deepEqual(ids(skipped), ['x2', 'z']);
  assert.deepEqual(ids((await readAll(documents, 3)).records), ['z']);
  await assert.rejects(Documents.open([join(many, '*.nothing')]), /no file matches/);
});

test('a file of no known format is refused by name, before anything is read', async () => {
  const refused: [name: string, content: string | Buffer, message: RegExp][] = [
    ['docs.zip', Buffer.from('PK\x03\x04rest'), /docs\.zip: is a ZIP archive/],
    ['page.jsonl', Buffer.from('\x89PNG\r\n', 'latin1'), /page\.jsonl: is an image/],
    ['readme.md', '# Title\n\nSome words, and more.\n', /readme\.md: is none of the formats/],
    ['utf16.csv', Buffer.from('\uFEFFid,text\n', 'utf16le'), /UTF-16/],
    ['noise', Buffer.from([1, 0, 2, 0, 3]), /is no text and no Parquet/],
    ['pretty.json', '{\n  "id": "1",\n  "text": "a"\n}\n', /over several lines/],
  ];
  for (const [name, content, message] of refused) await assert.rejects(read(name, content), message);
  await assert.rejects(read('a.csv', 'id,text\n1,a\n', { format: 'parquet' }), /a\.csv: is not Parquet/);
});
