import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { UsageError } from '../output/print.ts';
import { parseColumnTypes } from './columns.ts';
import { Documents, type DocumentsOptions } from './documents.ts';
import { parseMapRules } from './mapping.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-mapping-'));
after(() => rmSync(folder, { recursive: true }));

async function read(
  name: string,
  content: string,
  { map = [], columns = [] }: { map?: string[]; columns?: string[] } = {},
): Promise<{ results: unknown[]; plan: string }> {
  const file = join(folder, name);
  writeFileSync(file, content);
  const options: DocumentsOptions = { rules: parseMapRules(map), types: parseColumnTypes(columns) };
  const documents = await Documents.open([file], options);
  const results: unknown[] = [];
  for await (const record of documents.records()) {
    results.push('operation' in record ? record.operation : `${record.line}: ${record.problem}`);
  }
  return { results, plan: documents.plan.join('\n').replaceAll(`${folder}/`, '') };
}

const TABLE =
  'sku;name;summary;body;price;stock;added\n1;Kettle;Boils;"Of; steel";12.5;TRUE;2024-05-01\n2;Mug;;White;3;false;\n';

test('columns become what the rules say, the rest becomes metadata by type, and both are told', async () => {
  const { results, plan } = await read('a.csv', TABLE, {
    map: ['id=sku', 'title=name', 'text=summary+body'],
  });
  assert.deepEqual(results, [
    {
      id: '1',
      title: 'Kettle',
      text: 'Boils\n\nOf; steel',
      version: 0,
      metadata: { price: 12.5, stock: true, added: '2024-05-01' },
    },
    { id: '2', title: 'Mug', text: 'White', version: 0, metadata: { price: 3, stock: false } },
  ]);
  assert.equal(
    plan,
    'a.csv: sku → id, name → title, summary + body → text, price → metadata.price (number), stock → metadata.stock (boolean), added → metadata.added (date)',
  );
});

test('a column keeps its type: a later value that does not fit is refused by name', async () => {
  const rows = Array.from({ length: 1200 }, (_, index) => `${index},${index === 1100 ? 'n/a' : index},x`);
  const content = ['id,metadata.n,text', ...rows].join('\n');
  const { results } = await read('b.csv', content);
  assert.match(
    String(results[1100]),
    /^1102: column "metadata\.n" holds numbers, and here "n\/a"; .*--columns metadata\.n=text/,
  );
  assert.equal(results.filter((each) => typeof each === 'string').length, 1);
  const asText = await read('c.csv', content, { columns: ['metadata.n=text'] });
  assert.deepEqual((asText.results[1100] as { metadata: object }).metadata, { n: 'n/a' });
});

test('what would change as a number is a text: leading zeros, many digits, signs', async () => {
  const cells = ['007', '1234567890123456789', '+5', '0x10', '1e999', 'NaN', '12 '];
  for (const [index, cell] of cells.entries()) {
    const { results } = await read(`t${index}.csv`, `id,text,metadata.v\n1,a,${cell}\n`);
    assert.deepEqual((results[0] as { metadata: object }).metadata, { v: cell });
  }
  const { results } = await read('u.csv', 'id,text,metadata.v\n1,a,1e999\n2,b,5\n', {
    columns: ['metadata.v=number'],
  });
  assert.match(String(results[0]), /^2: column "metadata\.v" holds numbers, and here 1e999 is too large/);
});

test('keys of JSON objects are mapped as columns are', async () => {
  const content =
    '{"sku":7,"info":{"name":"n"},"body":"b","colour":"red"}\n{"sku":"8","body":["x"]}\n{"body":"no id"}\n';
  const { results, plan } = await read('d.jsonl', content, {
    map: ['id=sku', 'title=info.name', 'text=body'],
  });
  assert.deepEqual(results, [
    { id: '7', title: 'n', text: 'b', version: 0, metadata: { colour: 'red' } },
    '2: "body" is a list, and "text" takes a text',
    '3: "id" must be a text that is not empty',
  ]);
  assert.match(plan, /other keys → metadata/);
});

test('sources that are not there, and rules that contradict each other, are refused', async () => {
  await assert.rejects(
    read('e.csv', TABLE, { map: ['id=sku', 'text=boddy'] }),
    /--map names "boddy", and there is no such column; there are sku, /,
  );
  await assert.rejects(
    read('f.jsonl', '{"id":"1"}\n', { map: ['text=boddy'] }),
    /--map names "boddy", and none of the first 1 records has it; they have id/,
  );
  await assert.rejects(read('g.csv', TABLE, { map: ['title=name'] }), /no column is called "id"/);
  await assert.rejects(
    read('h.csv', TABLE, { map: ['id=sku'], columns: ['cost=text'] }),
    /--columns names "cost"/,
  );
  for (const flags of [['id'], ['=a'], ['id='], ['colour=a'], ['metadata.=a'], ['id=a', 'id=b']]) {
    assert.throws(() => parseMapRules(flags), UsageError, flags.join());
  }
  for (const flags of [['a'], ['a=float'], ['=text'], ['a=text,a=date']]) {
    assert.throws(() => parseColumnTypes(flags), UsageError, flags.join());
  }
});
