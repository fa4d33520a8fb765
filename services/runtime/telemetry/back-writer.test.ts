import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import protobuf from 'protobufjs';
import { BackWriter, nanosecondHalves } from './back-writer.ts';

const Everything = protobuf
  .parse(`
  syntax = "proto3";
  message Everything {
    optional int64 integer = 1;
    optional string text = 2;
    bytes id = 3;
    double real = 4;
    fixed32 flags = 16;
    fixed64 time = 6;
    repeated Everything parts = 15;
  }
`)
  .root.lookupType('Everything');

/** What protobuf.js reads of what `write` writes; a writer that has room for nothing grows all the time. */
function written(write: (writer: BackWriter) => void): Record<string, unknown> {
  const writer = new BackWriter(1);
  write(writer);
  return Everything.toObject(Everything.decode(writer.finish()), { longs: String, bytes: String });
}

describe('protobuf, from the last byte to the first, is read by others as it was meant', () => {
  const integers = [0, 1, 127, 128, 16_383, 16_384, 2 ** 21, 2 ** 31, 2 ** 35, Number.MAX_SAFE_INTEGER];
  for (const value of [...integers, ...integers.map((each) => -each)]) {
    test(`integer ${value}`, () => {
      assert.deepEqual(
        written((writer) => writer.integer(1, value)),
        { integer: String(value + 0) },
      );
    });
  }

  for (const [what, text] of [
    ['empty', ''],
    ['short', 'scalingnote.batch.size'],
    ['as long as is written here', 'x'.repeat(64)],
    ['long', 'x'.repeat(70_000)],
    ['not ASCII', 'wörter, 語, 🐝'],
    ['not ASCII in the first place', 'ö' + 'x'.repeat(60)],
    ['long and not ASCII', '語'.repeat(100)],
  ] as const) {
    test(`a text that is ${what}`, () => {
      assert.deepEqual(
        written((writer) => writer.string(2, text)),
        { text },
      );
    });
  }

  test('bytes, reals, fixed numbers', () => {
    const id = '0123456789abcdefABCDEF0012ff80a7';
    assert.deepEqual(
      written((writer) => {
        writer.fixed32(16, 0xffff_ff01);
        writer.fixed64(6, 0x1234_5678, 0x9abc_def0);
        writer.double(4, -0.1);
        writer.hex(3, id);
      }),
      {
        id: Buffer.from(id, 'hex').toString('base64'),
        real: -0.1,
        flags: 0xffff_ff01,
        time: String(0x1234_5678_9abc_def0n),
      },
    );
  });

  test('messages in messages, with the length that they have', () => {
    const part = (writer: BackWriter, text: string, inner?: () => void): void => {
      const from = writer.length;
      inner?.();
      writer.string(2, text);
      writer.message(15, from);
    };
    assert.deepEqual(
      written((writer) => {
        part(writer, 'second', () => part(writer, 'y'.repeat(300)));
        part(writer, 'first');
      }),
      { parts: [{ text: 'first' }, { text: 'second', parts: [{ text: 'y'.repeat(300) }] }] },
    );
  });
});

test('nanoseconds since the epoch are exact', () => {
  for (const [seconds, nanoseconds] of [
    [0, 0],
    [0, 999_999_999],
    [65_535, 1],
    [65_536, 999_999_999],
    [1_795_000_000, 123_456_789],
    [2 ** 31 + 7, 5],
    [2 ** 32 - 1, 999_999_999],
  ] as const) {
    const { high, low } = nanosecondHalves(seconds, nanoseconds);
    const expected = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
    assert.equal((BigInt(high) << 32n) | BigInt(low), expected);
  }
});
