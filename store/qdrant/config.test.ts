import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planCollections } from './config.ts';

describe('how collections are made', () => {
  it('follows from the size that is expected', () => {
    const sizes = [100_000, 1_000_000, 4_000_000, 20_000_000, 100_000_000];
    const plans = sizes.map((expectedPassages) => planCollections({ expectedPassages }));
    assert.deepEqual(
      plans.map(({ shards, quantization, onDisk, hnswEfConstruct }) => [
        shards,
        quantization,
        onDisk,
        hnswEfConstruct,
      ]),
      [
        [1, 'none', false, 100],
        [1, 'none', false, 100],
        [1, 'scalar', false, 100],
        [12, 'scalar', true, 200],
        [24, 'scalar', true, 200],
      ],
    );
  });

  it('goes on with one dead node where there are replicas', () => {
    for (const replicas of [2, 3, 4, 5]) {
      const { writeConsistency } = planCollections({ replicas });
      assert.ok(writeConsistency! >= 1 && writeConsistency! <= replicas - 1);
    }
    assert.equal(planCollections({}).writeConsistency, undefined);
  });

  it('is what the settings say, where they say it', () => {
    const settings = {
      expectedPassages: 100_000_000,
      shards: 3,
      replicas: 2,
      writeConsistency: 2,
      quantization: 'none' as const,
      onDisk: false,
      hnswM: 8,
      hnswEfConstruct: 64,
    };
    const { indexedFields, strictMode, ...plan } = planCollections(settings);
    assert.deepEqual({ expectedPassages: 100_000_000, ...plan }, settings);
    assert.equal(strictMode, false);
    assert.equal(indexedFields.size, 0);
  });
});
