import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MAX_LINE_BYTES } from '../../clients/lines.ts';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { CsvScanner, type DelimitedRecord, joinFields } from './csv-scanner.ts';

const python = optionalTool('python3');

function scan(chunks: readonly Buffer[], delimiter = ','): DelimitedRecord[] {
  const scanner = new CsvScanner(delimiter);
  return [...chunks.flatMap((chunk) => [...scanner.push(chunk)]), ...scanner.finish()];
}

function cutAt(text: string, cuts: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text);
  const sorted = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}

function shown(records: readonly DelimitedRecord[]): unknown[] {
  return records.map((each) => ('fields' in each ? [each.line, ...each.fields] : [each.line, each.problem]));
}

/** Rows of Python's csv module, as it writes them and as it reads them. */
const SCRIPT = `
import csv, io, json, sys
out = []
for case in json.load(sys.stdin):
    text = ''
    for row, end, quoting in zip(case['rows'], case['ends'], case['quoting']):
        file = io.StringIO(newline='')
        csv.writer(file, delimiter=case['delimiter'], lineterminator=end, quoting=quoting if end == '\\r\\n' else 1).writerow(row)
        text += file.getvalue()
    ours = list(csv.reader(io.StringIO(case['ours'], newline=''), delimiter=case['delimiter']))
    out.append({'text': text, 'read': ours})
json.dump(out, sys.stdout)
`;

interface Case {
  rows: string[][];
  ends: string[];
  quoting: number[];
  delimiter: string;
  cuts: number[];
  ours: string;
}

test(
  "what Python's csv module writes is read as it was, and it reads what is written here",
  { skip: python.skip },
  () => {
    const field = fc.string({
      unit: fc.constantFrom('a', 'é', ' ', '"', ',', ';', '\t', '\n', '\r', '\r\n'),
      maxLength: 6,
    });
    const cases = fc
      .sample(
        fc.record({
          rows: fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
          ends: fc.array(fc.constantFrom('\n', '\r\n', '\r'), { minLength: 6, maxLength: 6 }),
          // QUOTE_MINIMAL, which quotes the characters of its own line end alone, and QUOTE_ALL.
          quoting: fc.array(fc.constantFrom(0, 1), { minLength: 6, maxLength: 6 }),
          delimiter: fc.constantFrom(',', ';', '\t', '|'),
          cuts: fc.array(fc.nat(200), { maxLength: 8 }),
        }),
        500,
      )
      .map((each): Case => ({
        ...each,
        ours: each.rows.map((row) => `${joinFields(row, each.delimiter)}\n`).join(''),
      }));
    const judged = JSON.parse(
      execFileSync(python.path!, ['-c', SCRIPT], {
        input: JSON.stringify(cases),
        maxBuffer: 1 << 26,
      }).toString(),
    ) as { text: string; read: string[][] }[];
    for (const [index, { text, read }] of judged.entries()) {
      const { rows, delimiter, cuts } = cases[index]!;
      const records = scan(cutAt(text, cuts), delimiter);
      assert.deepEqual(
        records.map((each) => 'fields' in each && each.fields),
        rows,
        JSON.stringify(text),
      );
      assert.deepEqual(read, rows);
    }
  },
);

test('line ends may be mixed, and a record is named by the line that it begins on', () => {
  const text = 'id,text\r\n1,a\n2,"b\r\nc\rd\ne"\r\n\r\n3,f\r4,g';
  const expected = [
    [1, 'id', 'text'],
    [2, '1', 'a'],
    [3, '2', 'b\r\nc\rd\ne'],
    [8, '3', 'f'],
    [9, '4', 'g'],
  ];
  for (let cut = 0; cut < text.length; cut++) assert.deepEqual(shown(scan(cutAt(text, [cut]))), expected);
});

test('a quote that nothing closes costs its line alone', () => {
  const lost = 'opens a quote that nothing closes; close it, or write "" for a quote inside a quoted field';
  const cases: [text: string, expected: unknown[][]][] = [
    [
      '1,"a\n2,b\n3,c\n',
      [
        [1, lost],
        [2, '2', 'b'],
        [3, '3', 'c'],
      ],
    ],
    [
      '1,"a\r\n2,"b"\r\n3,c',
      [
        [1, lost],
        [2, '2', 'b'],
        [3, '3', 'c'],
      ],
    ],
    [
      '1,"x\ny","a\n2,b\n',
      [
        [2, lost],
        [3, '2', 'b'],
      ],
    ],
    [
      '1,a\n2,"b',
      [
        [1, '1', 'a'],
        [2, lost],
      ],
    ],
    ['1,"', [[1, lost]]],
  ];
  for (const [text, expected] of cases) {
    for (let cut = 0; cut <= text.length; cut++)
      assert.deepEqual(shown(scan(cutAt(text, [cut]))), expected, text);
  }
  assert.deepEqual(scan([Buffer.from('1,"a\n2,b\n')])[0], { line: 1, problem: lost, raw: '1,"a' });
});

test('a quote in the middle of a field is a part of it', () => {
  assert.deepEqual(shown(scan([Buffer.from('a"b,"c" d,"e"\n"f"g"",h\n')])), [
    [1, 'a"b', '"c" d', 'e'],
    [2, '"f"g""', 'h'],
  ]);
});

test('a delimiter may be longer than a character', () => {
  const text = '1||"a||b"||c|d\n2||||\n';
  for (let cut = 0; cut < text.length; cut++) {
    assert.deepEqual(shown(scan(cutAt(text, [cut]), '||')), [
      [1, '1', 'a||b', 'c|d'],
      [2, '2', '', ''],
    ]);
  }
});

test('a field of 200 MB is one problem, quoted or not, and takes no memory of that size', () => {
  const chunk = Buffer.from('line of text\n'.repeat(80_000));
  for (const quoted of [true, false]) {
    const scanner = new CsvScanner(',');
    const part = quoted ? chunk : Buffer.from(chunk.toString().replaceAll('\n', ' '));
    const records = [...scanner.push(Buffer.from(quoted ? '0,x\n1,"' : '0,x\n1,'))];
    const before = process.memoryUsage().arrayBuffers;
    for (let sent = 0; sent < 200e6; sent += part.length) records.push(...scanner.push(part));
    assert.ok(process.memoryUsage().arrayBuffers - before < 4 * MAX_LINE_BYTES);
    records.push(...scanner.push(Buffer.from(quoted ? '",y\n2,b\n' : '\n2,b\n')), ...scanner.finish());
    assert.equal(records.length, 3);
    assert.match('problem' in records[1]! ? records[1].problem : '', /^has 20\d+ bytes; at most/);
    assert.equal(records[1]?.line, 2);
    const lines = quoted ? 80_000 * Math.ceil(200e6 / chunk.length) : 0;
    assert.deepEqual(shown([records[2]!]), [[3 + lines, '2', 'b']]);
  }
});
