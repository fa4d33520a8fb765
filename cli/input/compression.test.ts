import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { BrokenSource } from './broken-source.ts';
import { compressionOf, unpack } from './compression.ts';
import { PLAIN, ZSTD_TWO_FRAMES } from './testing/packed.ts';

const python = optionalTool('python3');

function bzip2(text: Buffer): Buffer {
  const script = 'import bz2,sys; sys.stdout.buffer.write(bz2.compress(sys.stdin.buffer.read()))';
  return execFileSync(python.path!, ['-c', script], { input: text });
}

/** What comes out, and what the source ends with. */
async function unpacked(
  packed: Buffer,
  chunk = 1000,
): Promise<{ text: Buffer; problem: string | undefined }> {
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < packed.length; at += chunk) yield packed.subarray(at, at + chunk);
  }
  const out: Buffer[] = [];
  let problem: string | undefined;
  try {
    for await (const part of unpack(chunks(), compressionOf(packed))) out.push(Buffer.from(part));
  } catch (error) {
    assert.ok(error instanceof BrokenSource, String(error));
    problem = error.message;
  }
  return { text: Buffer.concat(out), problem };
}

/** Each packing, of {@link PLAIN} in two members. */
const PACKED: [name: string, pack: () => Buffer, skip: string | false][] = [
  [
    'gzip',
    () => Buffer.concat([gzipSync(PLAIN.subarray(0, 70_000)), gzipSync(PLAIN.subarray(70_000))]),
    false,
  ],
  ['zstd', () => ZSTD_TWO_FRAMES, false],
  [
    'bzip2',
    () => Buffer.concat([bzip2(PLAIN.subarray(0, 70_000)), bzip2(PLAIN.subarray(70_000))]),
    python.skip,
  ],
];

for (const [name, pack, skip] of PACKED) {
  test(
    `${name}: members one after the other are one text, however the chunks are cut`,
    { skip },
    async () => {
      const packed = pack();
      assert.equal(compressionOf(packed), name);
      for (const chunk of [1, 997, 1 << 20]) {
        const { text, problem } = await unpacked(packed, chunk);
        assert.equal(problem, undefined);
        assert.ok(text.equals(PLAIN));
      }
    },
  );

  test(`${name}: what is whole comes out before the cut is told`, { skip }, async () => {
    const packed = pack();
    const { text, problem } = await unpacked(packed.subarray(0, -9));
    assert.match(problem ?? '', new RegExp(`^unexpected end of file: its ${name} data is cut off`));
    assert.ok(text.length >= 70_000, `${text.length} bytes`);
    assert.ok(PLAIN.subarray(0, text.length).equals(text));
  });

  test(`${name}: bytes after it are told, and all before them comes out`, { skip }, async () => {
    for (const chunk of [7, 1 << 20]) {
      const { text, problem } = await unpacked(
        Buffer.concat([pack(), Buffer.from('something else entirely')]),
        chunk,
      );
      assert.match(problem ?? '', new RegExp(`^has bytes after its ${name} data`));
      assert.ok(text.equals(PLAIN));
    }
  });
}

test('zeros after gzip data are padding', async () => {
  const { text, problem } = await unpacked(Buffer.concat([gzipSync(PLAIN), Buffer.alloc(5000)]));
  assert.equal(problem, undefined);
  assert.ok(text.equals(PLAIN));
});

test('a damaged checksum is told', async () => {
  const packed = gzipSync(PLAIN);
  packed[packed.length - 6]! ^= 1;
  assert.match((await unpacked(packed)).problem ?? '', /^its gzip data is damaged/);
});

test('a zstd frame that asks for a huge window is refused before it gets one', async () => {
  const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0, 0, 0, 0, 0]);
  assert.match((await unpacked(frame)).problem ?? '', /window of 1073741824 bytes/);
});

test('what is not packed comes out as it is', async () => {
  assert.equal(compressionOf(Buffer.from('BZh is how bzip2 begins')), 'none');
  assert.equal(compressionOf(Buffer.alloc(0)), 'none');
  assert.ok((await unpacked(PLAIN)).text.equals(PLAIN));
});
