import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { type Line, MAX_LINE_BYTES, readLines } from './lines.ts';

async function lines(chunks: readonly (string | Buffer)[], after?: number): Promise<Line[]> {
  async function* bytes(): AsyncGenerator<Buffer> {
    for (const chunk of chunks) yield Buffer.from(chunk as string);
  }
  const read: Line[] = [];
  for await (const line of readLines(bytes(), after)) read.push(line);
  return read;
}

test('wherever the chunks are cut, the lines are the same', async () => {
  const text = fc.array(fc.string({ unit: 'grapheme' }).map((line) => line.replaceAll(/[\r\n]/g, '')));
  await fc.assert(
    fc.asyncProperty(text, fc.array(fc.nat(100)), async (texts, cuts) => {
      const bytes = Buffer.from(texts.map((line) => `${line}\n`).join(''));
      const sorted = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
      const chunks = sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
      assert.deepEqual(
        await lines(chunks),
        texts.map((each, index) => ({ line: index + 1, text: each })),
      );
    }),
  );
});

test('a last line needs no end, and "\\r\\n" is one', async () => {
  assert.deepEqual(await lines(['a\r\n\r\nb']), [
    { line: 1, text: 'a' },
    { line: 2, text: '' },
    { line: 3, text: 'b' },
  ]);
  assert.deepEqual(await lines(['']), []);
});

test('line and paragraph separators inside a line do not end it', async () => {
  assert.deepEqual(await lines(['{"a":"x\u2028y\u2029z"}\n']), [
    { line: 1, text: '{"a":"x\u2028y\u2029z"}' },
  ]);
});

test('a line that is not UTF-8 is a problem of its own', async () => {
  const read = await lines([Buffer.concat([Buffer.from('a\nb'), Buffer.from([0xff]), Buffer.from('\nc\n')])]);
  assert.deepEqual(read[0], { line: 1, text: 'a' });
  assert.match('problem' in read[1]! ? read[1].problem : '', /not UTF-8/);
  assert.deepEqual(read[2], { line: 3, text: 'c' });
});

test('a line without end does not fill the memory', async () => {
  const chunk = 'x'.repeat(MAX_LINE_BYTES / 4 + 1);
  const read = await lines([chunk, chunk, chunk, chunk, '\nb\n']);
  assert.match('problem' in read[0]! ? read[0].problem : '', /^has 67108868 bytes/);
  assert.deepEqual(read[1], { line: 2, text: 'b' });
});

test('lines that were read before are passed over', async () => {
  assert.deepEqual(await lines(['a\nb\nc'], 2), [{ line: 3, text: 'c' }]);
});
