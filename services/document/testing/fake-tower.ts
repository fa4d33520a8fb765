import { type CutDocument, recutPassages } from '../../../towers/recut.ts';
import type { Encoding, Passage, Tokens } from '../../../towers/tower.ts';
import { DIMENSIONS, fakeManifest } from '../../runtime/testing/fake-manifest.ts';
import type { IngestTower } from '../ingest/encoder.ts';

/** A tower whose vectors are a function of the text. A test can count its encodings, delay them and make them fail. */
export class FakeTower implements IngestTower {
  readonly manifest: IngestTower['manifest'];
  readonly device = 'cpu';
  /** Passages encoded so far. */
  encoded = 0;
  /** Passages being encoded now, and the most at any time so far. */
  busy = 0;
  busiest = 0;
  /** Runs before each encoding; what it throws, the encoding throws. */
  before: (text: string) => Promise<void> | void = () => {};

  constructor(name = 'fake') {
    this.manifest = fakeManifest(name, { role: 'document' });
  }

  /** A passage ends at each "|". */
  async *eachPassage({
    title,
    text,
  }: {
    title: string;
    text: string;
  }): AsyncGenerator<Passage, void, undefined> {
    let start = 0;
    for (const [index, part] of text.split('|').entries()) {
      const end = start + part.length;
      yield { text: part, span: { start, end }, tokens: tokensOf(index === 0 ? `${title} ${part}` : part) };
      start = end + 1;
    }
  }

  recut(document: { title: string; text: string }, before: CutDocument): ReturnType<IngestTower['recut']> {
    const eachPassage = this.eachPassage.bind(this);
    async function* cut(part: { title: string; text: string }): AsyncGenerator<Passage, void, undefined> {
      for await (const passage of eachPassage(part)) if (passage.text !== '') yield passage;
    }
    return recutPassages(document, before, { cut, fewest: 0 });
  }

  async encode({ ids }: Tokens, { signal }: { signal?: AbortSignal } = {}): Promise<Encoding> {
    this.busy++;
    this.busiest = Math.max(this.busiest, this.busy);
    try {
      await this.before(String.fromCodePoint(...ids));
      signal?.throwIfAborted();
      this.encoded++;
      const batch = {
        startedAt: performance.now(),
        size: 1,
        tokens: ids.length,
        paddingRatio: 0,
        encodeMs: 0,
      };
      return { vector: vectorOf(ids), queueMs: 0, encodeMs: 0, batch };
    } finally {
      this.busy--;
    }
  }
}

function tokensOf(text: string): Tokens {
  return { ids: Array.from(text, (character) => character.codePointAt(0)!), truncated: false };
}

/** The vectors are not of unit length: the store has to scale them. */
function vectorOf(ids: readonly number[]): Float32Array {
  const vector = new Float32Array(DIMENSIONS).fill(1);
  ids.forEach((id, place) => (vector[(place + id) % DIMENSIONS]! += id % 13));
  return vector;
}
