import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EncodeResponse } from '../../proto/generated/scalingnote/v1/EncodeResponse.ts';
import type { SearchResponse } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { v1 } from '../../proto/load.ts';
import type { SearchHit } from '../../store/queries.ts';
import { hitsOf, partsOf } from '../../store/shown.ts';
import { encodeResponseBytes } from './encode-response.ts';
import { HitMessage, searchResponseBytes } from './search-response.ts';

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

test('an answer of Search says the same, whether or not the store knows its hits again', () => {
  const { responseSerialize, responseDeserialize } = v1.QueryService.service.Search;
  const timings = { tokenizeMs: 0.5, queueMs: 0, encodeMs: 1, searchMs: 2, totalMs: 4, cached: true };
  const queryTower = { name: 'é', space: { fingerprint: 'f', dimensions: 384 } };
  const around = { timings, queryTower, collection: 'docs', explainedDocument: null, queryTruncation: null };
  const shown = [
    { documentId: 'a', passage: 0, title: '', version: 0 },
    { documentId: 'é'.repeat(200), passage: 300, title: 'T', text: 'x'.repeat(40_000), version: 2 ** 53 - 1 },
    {
      documentId: 'c',
      passage: 1,
      title: 'C',
      text: 't',
      version: 7,
      metadata: { list: [1, null, { deep: 'é' }] },
    },
  ];
  const scores = [0, -0, 0.25, -1];
  for (const count of [0, 1, 3]) {
    for (const omitText of [false, true]) {
      for (const score of scores) {
        const known = hitsOf(shown.slice(0, count).map((each) => ({ shown: each, place: { score } })));
        const unknown: SearchHit[] = known.map((hit) => ({ ...hit }));
        const messages = [known, unknown].map((hits) =>
          hits.map((hit, at) => new HitMessage(hit, omitText, partsOf(hits)?.[at])),
        );
        for (const hits of messages) {
          if (!hits[2]) continue;
          hits[1]!.snippet = { text: 'x', highlights: [{ start: 0, end: 1 }], start: 5 };
          hits[1]!.documentTextAbsence = 'TEXT_ABSENCE_NOT_STORED';
          hits[2].documentText = '';
          hits[2].explanation = { rank: 3, terms: [{ term: 'x', score: 1 }] };
        }
        const answers = messages.map((hits): SearchResponse => ({ hits, ...around }));
        const [ours, plain] = answers.map((answer) => responseDeserialize(searchResponseBytes(answer)));
        assert.deepEqual(ours, plain);
        assert.deepEqual(plain, responseDeserialize(responseSerialize(answers[1]!)));
        assert.equal(ours!.hits[0]?.text, count === 0 ? undefined : '');
        // A second answer with what was kept of the first.
        assert.deepEqual(responseDeserialize(searchResponseBytes(answers[0]!)), plain);
      }
    }
  }
  assert.deepEqual(responseDeserialize(searchResponseBytes({})), responseDeserialize(responseSerialize({})));
});
