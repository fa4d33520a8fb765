import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejects } from '../contract/stores.ts';
import { openStore, type QdrantConfig } from '../open.ts';
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

describe('a configuration', () => {
  const wrong: [Partial<QdrantConfig>, RegExp][] = [
    [{ url: 'localhost:6333' }, /address "localhost:6333"/],
    [{ url: 'https://key@host' }, /address "https:\/\/\.\.\.@host"/],
    [{ url: 'http://a,ftp://b' }, /"ftp:\/\/b"/],
    [{ ca: '/nowhere/ca.pem' }, /ca: cannot read/],
    [{ shards: 0 }, /shards is 0/],
    [{ replicas: 2, writeConsistency: 3 }, /writeConsistency is 3.*2 replicas/],
    [{ hnswEfConstruct: 2 }, /hnswEfConstruct/],
    [{ oversampling: 0.5 }, /oversampling/],
    [{ connections: 1.5 }, /connections/],
    [{ indexedFields: { 'a"b': 'keyword' } }, /metadata/],
  ];
  for (const [config, message] of wrong) {
    it(`is refused: ${JSON.stringify(config)}`, async () => {
      await rejects(
        openStore({ kind: 'qdrant', url: 'http://localhost', ...config }),
        'STORE_INVALID_ARGUMENT',
        message,
      );
    });
  }

  it('that sends the key unencrypted is warned of, but not on this machine', async (t) => {
    const warnings: string[] = [];
    const log = { warn: (message: string) => warnings.push(message) };
    for (const url of [
      'http://127.0.0.1:1',
      'http://localhost:1',
      'https://far.example',
      'http://far.example',
    ]) {
      const store = await openStore({ kind: 'qdrant', url, apiKey: 'secret' }, { log });
      t.after(() => store.close());
    }
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /far\.example:6333 unencrypted/);
  });

  it('is taken while the server is away', async (t) => {
    const store = await openStore({ kind: 'qdrant', url: 'http://127.0.0.1:1' });
    t.after(() => store.close());
    await rejects(store.probe(), 'STORE_UNAVAILABLE', /127\.0\.0\.1:1/);
  });
});
