import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EncodeResponse } from '../../proto/generated/scalingnote/v1/EncodeResponse.ts';
import { v1 } from '../../proto/load.ts';
import { encodeResponseBytes } from './encode-response.ts';

const generic = v1.QueryService.service.Encode.responseSerialize;

/** Numbers of a generator that starts with a seed, so that a failure comes again. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 32;
}

const SPECIAL = [0, -0, 1, -1, Infinity, -Infinity, Number.NaN, 1e-45, 3.4e38, 1e300, 0.1];

test('the bytes are those of protobufjs, whatever the answer', () => {
  const random = seeded(17);
  const upTo = (most: number): number => Math.floor(random() * (most + 1));
  const towers = [
    undefined,
    null,
    {},
    { name: 'é', role: 'TOWER_ROLE_QUERY', space: { fingerprint: 'f', dimensions: 384 }, maxTokens: 512 },
  ] as EncodeResponse['queryTower'][];
  // Where lengths take one byte more.
  const sizes = [0, 1, 30, 31, 32, 33, 384, 4094, 4095, 4096];
  for (let round = 0; round < 300; round++) {
    const vectors = Array.from({ length: upTo(4) }, () => {
      const size = random() < 0.7 ? sizes[upTo(sizes.length - 1)]! : upTo(600);
      return Array.from({ length: size }, () =>
        random() < 0.1 ? SPECIAL[upTo(SPECIAL.length - 1)]! : random() * 2 - 1,
      );
    });
    const queryTower = towers[upTo(towers.length - 1)]!;
    const expected = generic({ embeddings: vectors.map((values) => ({ values })), queryTower });
    const plain = { embeddings: vectors.map((values) => ({ values })), queryTower };
    assert.deepEqual(encodeResponseBytes(plain), expected, `round ${round}`);
    // A vector may be a part of a larger piece of memory.
    const whole = Float32Array.from([9, ...vectors.flat(), 9]);
    let at = 1;
    const native = vectors.map(({ length }) => ({ values: whole.subarray(at, (at += length)) }));
    const given = { embeddings: native, queryTower } as unknown as EncodeResponse;
    assert.deepEqual(encodeResponseBytes(given), expected, `round ${round}, as Float32Array`);
  }
  assert.deepEqual(encodeResponseBytes({}), generic({}));
  assert.deepEqual(encodeResponseBytes({ embeddings: [{}] }), generic({ embeddings: [{}] }));
});
