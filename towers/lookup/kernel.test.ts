import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import * as fc from 'fast-check';
import wabt from 'wabt';
import { LookupError } from './errors.ts';
import { KERNEL } from './kernel-bytes.ts';
import { Kernel } from './kernel.ts';
import { type Arithmetic, plain } from './rows.ts';
import type { Table } from './weights.ts';

test('the bytes are those of the source', async () => {
  const { parseWat } = await wabt();
  const source = await readFile(new URL('../../../towers/lookup/kernel.wat', import.meta.url), 'utf8');
  const { buffer } = parseWat('kernel.wat', source).toBinary({});
  assert.equal(Buffer.from(buffer).toString('base64'), KERNEL, 'run npm run kernel');
});

/** A table of any numbers in so many bits. */
function tableOf(rows: number, width: number, bits: 4 | 8, random: () => number): Table {
  const bytes = Uint8Array.from({ length: (rows * width * bits) / 8 }, () => Math.floor(random() * 256));
  return {
    rows,
    width,
    bits,
    values: bits === 4 ? bytes : new Int8Array(bytes.buffer),
    scales: Float32Array.from({ length: rows }, () => random() / 100),
  };
}

/** Everything that is done with a table. */
function all(arithmetic: Arithmetic, table: Table, ids: number[], factors: number[] | undefined): number[] {
  const rows = arithmetic.rows(table);
  const sum = arithmetic.vector(table.width).fill(0);
  rows.add(ids, factors, sum);
  const products = new Float64Array(ids.length);
  rows.multiply(ids, sum, products);
  const before = [...sum];
  arithmetic.toUnit(sum);
  return [...before, ...products, ...sum];
}

test('the kernel computes what JavaScript does, whatever table, tokens and factors there are', () => {
  const cases = fc.record({
    bits: fc.constantFrom<4 | 8>(4, 8),
    parts: fc.integer({ min: 1, max: 5 }),
    rows: fc.integer({ min: 1, max: 40 }),
    // More than one call of the kernel takes.
    tokens: fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 250, max: 600 })),
    hasFactors: fc.boolean(),
    seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  });
  fc.assert(
    fc.property(cases, ({ bits, parts, rows, tokens, hasFactors, seed }) => {
      let state = seed;
      const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
      const table = tableOf(rows, 32 * parts, bits, random);
      const other = tableOf(3, 64, 8, random);
      const ids = Array.from({ length: tokens }, () => Math.floor(random() * rows));
      const factors = hasFactors ? ids.map(() => random()) : undefined;
      const kernel = Kernel.open([other, table]);
      assert.ok(kernel);
      kernel.rows(other);
      const expected = all(plain, table, ids, factors);
      const most = Math.max(1e-9, ...expected.map(Math.abs));
      for (const [at, value] of all(kernel, table, ids, factors).entries()) {
        assert.ok(Math.abs(value - expected[at]!) <= 1e-5 * most, `${at}: ${value} and ${expected[at]!}`);
      }
    }),
  );
});

test('there is room for a vector of each table, however wide they are', () => {
  const [wide, other] = [tableOf(1, 32_768, 8, Math.random), tableOf(2, 65_536, 4, Math.random)];
  const kernel = Kernel.open([wide, other])!;
  for (const table of [wide, other]) {
    const sum = kernel.vector(table.width).fill(0);
    const expected = plain.vector(table.width);
    kernel.rows(table).add([0], [0.5], sum);
    plain.rows(table).add([0], [0.5], expected);
    assert.ok(sum.every((x, i) => Math.abs(x - expected[i]!) < 1e-6));
  }
});

test('a token without a row is refused before anything is read', () => {
  const table = tableOf(4, 32, 4, Math.random);
  const kernel = Kernel.open([table])!;
  const rows = kernel.rows(table);
  const sum = kernel.vector(32);
  for (const id of [4, -1, 2 ** 31, Number.NaN]) {
    assert.throws(() => rows.add([0, id], undefined, sum), LookupError, String(id));
    assert.throws(() => rows.multiply([id], sum, new Float64Array(1)), LookupError, String(id));
  }
});

test('tables of other kinds, and a page that allows no WebAssembly, have no kernel', (t) => {
  const table = tableOf(4, 32, 4, Math.random);
  const values = new Float32Array(128);
  assert.equal(Kernel.open([table, { rows: 4, width: 32, bits: 32, values, scales: undefined }]), undefined);
  assert.equal(Kernel.open([tableOf(4, 24, 8, Math.random)]), undefined);
  const { WebAssembly: wasm } = globalThis as unknown as {
    WebAssembly: { Module: () => void; CompileError: new (message: string) => Error };
  };
  t.mock.method(wasm, 'Module', function blocked() {
    throw new wasm.CompileError('blocked by Content Security Policy');
  });
  assert.equal(Kernel.open([table]), undefined);
});
