import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import type { OnnxError } from './errors.ts';
import { readSafetensors, writeSafetensors } from './safetensors.ts';
import { float32, int64, tensor, type Tensor } from './tensor.ts';

test('what is written is read: names, types, shapes, numbers, metadata', async (context) => {
  const file = join(temporaryFolder(context), 'weights.safetensors');
  const tensors = new Map<string, Tensor>([
    ['a.weight', float32([2, 3], [1, 2, 3, 4, 5, 6])],
    ['Bytes, an odd number', tensor('int8', [3], Int8Array.from([-1, 0, 1]))],
    ['half', tensor('float16', [2], Uint16Array.from([15360, 49152]))],
    ['step', int64([7], [])],
    ['nothing', float32([0, 4], [])],
  ]);
  await writeSafetensors(file, { tensors, metadata: { format: 'pt' } });
  const read = await readSafetensors(file);
  assert.deepEqual(read, { tensors, metadata: { format: 'pt' } });
});

test('the bytes are those of the format: length, JSON header, tensors one after the other', async (context) => {
  const file = join(temporaryFolder(context), 'weights.safetensors');
  const header = JSON.stringify({
    x: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
    y: { dtype: 'I64', shape: [], data_offsets: [8, 16] },
  });
  const body = Buffer.alloc(16);
  body.writeFloatLE(1.5, 0);
  body.writeFloatLE(-2, 4);
  body.writeBigInt64LE(-9n, 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(file, Buffer.concat([length, Buffer.from(header), body]));
  const { tensors } = await readSafetensors(file);
  assert.deepEqual(Object.fromEntries(tensors), { x: float32([2], [1.5, -2]), y: int64([-9], []) });
});

test('any damage is refused with the name of the file, never a crash', async (context) => {
  const file = join(temporaryFolder(context), 'weights.safetensors');
  await writeSafetensors(file, { tensors: new Map([['x', float32([4], [1, 2, 3, 4])]]), metadata: {} });
  const whole = readFileSync(file);
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(255), async (at, byte) => {
      const damaged = Buffer.from(whole);
      damaged[at] = byte;
      for (const bytes of [damaged, whole.subarray(0, at)]) {
        writeFileSync(file, bytes);
        await readSafetensors(file).catch((error: OnnxError) => {
          assert.equal(error.name, 'OnnxError');
          assert.match(error.message, /weights\.safetensors/);
        });
      }
    }),
    { numRuns: 150 },
  );
  await assert.rejects(readSafetensors(`${file}-nowhere`), /can't read .*nowhere/);
});
