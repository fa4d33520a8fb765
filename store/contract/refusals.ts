import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SparseVector } from '../document.ts';
import type { DocumentWrite } from '../writes.ts';
import { put, rejects, remove, type Stores, TENANT } from './stores.ts';

export function refusalContract(stores: Stores): void {
  describe('writes that are wrong', () => {
    const good = put('good', [[1, 0, 0, 0]]);
    const bad: Record<string, [DocumentWrite, RegExp]> = {
      'a vector that is too short': [put('bad', [[1, 0, 0]]), /3 dimensions.*has 4/],
      'a vector that is too long': [put('bad', [[1, 0, 0, 0, 0]]), /5 dimensions/],
      'a second passage of another length': [put('bad', [[1, 0, 0, 0], [1]]), /passage 1/],
      NaN: [put('bad', [[1, NaN, 0, 0]]), /NaN at index 1/],
      Infinity: [put('bad', [[1, 0, Infinity, 0]]), /Infinity at index 2/],
      'a number beyond float32': [put('bad', [[1e39, 0, 0, 0]]), /finite/],
      'a zero vector': [put('bad', [[0, 0, 0, 0]]), /zero/],
      'no passages': [put('bad', []), /no passages/],
      'an empty id': [put('', [[1, 0, 0, 0]]), /empty/],
      'an id with a lone surrogate': [put('\ud800', [[1, 0, 0, 0]]), /surrogate/],
      'a tenant with a lone surrogate': [put('bad', [[1, 0, 0, 0]], { tenant: '\udc00' }), /surrogate/],
      'a negative version': [put('bad', [[1, 0, 0, 0]], { version: -1 }), /version/],
      'a fractional version': [put('bad', [[1, 0, 0, 0]], { version: 1.5 }), /version/],
      'a version beyond 2^53': [remove('bad', 2 ** 53), /version/],
      'more indices than values': [withSparse({ indices: [1, 2], values: [1] }), /2 indices and 1 values/],
      'an index twice': [withSparse({ indices: [1, 1], values: [1, 1] }), /twice/],
      'an index beyond 32 bits': [withSparse({ indices: [2 ** 32], values: [1] }), /32-bit/],
      'a negative weight': [withSparse({ indices: [1], values: [-1] }), /positive/],
      'a weight that is not finite': [withSparse({ indices: [1], values: [NaN] }), /finite/],
      'a weight beyond float32': [withSparse({ indices: [1], values: [1e39] }), /float32/],
    };
    for (const [what, [write, message]] of Object.entries(bad)) {
      it(`are refused, and no step of the write is applied: ${what}`, async () => {
        const name = await stores.collection();
        await rejects(
          stores.first.writeDocuments(name, [good, write, good]),
          'STORE_INVALID_ARGUMENT',
          message,
        );
        assert.deepEqual(await stores.first.count(name, TENANT), { documents: 0, passages: 0 });
      });
    }
  });
}

function withSparse(sparse: SparseVector): DocumentWrite {
  return { ...put('bad', []), passages: [{ vector: Float32Array.of(1, 0, 0, 0), sparse }] };
}
