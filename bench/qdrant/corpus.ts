import { readWordNet, type SampleDocument } from '../../cli/sample/wordnet.ts';
import { openTower } from '../../towers/open.ts';
import type { TowerManifest } from '../../towers/manifest.ts';
import { passageTerms } from '../../towers/terms.ts';
import type { DocumentWrite } from '../../store/writes.ts';
import { seeded } from '../load/arrivals.ts';

/** A tower that ships: it encodes documents in microseconds, and its vectors have the shape of real ones. */
export const TOWER = 'all-MiniLM-L6-v2-lookup';

/** Documents to store, and queries to search for. */
export interface Corpus {
  manifest: TowerManifest;
  documents: SampleDocument[];
  /** The vectors, one after the other. */
  vectors: Float32Array;
  queries: string[];
  queryVectors: Float32Array[];
}

/** How far a vector is turned that comes again, as the length of what is added to it. */
const TURN = 0.4;

/**
 * WordNet's glosses: most are documents, some are queries. More documents than it has are the same ones again, by other
 * ids and with their vectors turned at random.
 */
export async function makeCorpus(documents: number, queries: number): Promise<Corpus> {
  const all = await readWordNet();
  const tower = await openTower(TOWER);
  const { manifest } = tower;
  const encode = async ({ title, text }: { title: string; text: string }): Promise<Float32Array> =>
    (await tower.encode(await tower.tokenize(`${title} ${text}`))).vector;
  // Take queries at regular intervals, so that documents and queries have all parts of speech.
  const step = Math.floor(all.length / queries);
  const asked = new Set(Array.from({ length: queries }, (_, index) => index * step));
  const stored = all.filter((_, index) => !asked.has(index)).slice(0, documents);
  const { dimensions } = manifest;
  const vectors = new Float32Array(documents * dimensions);
  for (const [row, document] of stored.entries()) vectors.set(await encode(document), row * dimensions);
  const random = seeded(documents);
  for (let row = stored.length, known = row; row < documents; row++) {
    const { id, ...document } = stored[row % known]!;
    stored.push({ ...document, id: `${id}-${Math.floor(row / known)}` });
    const from = vectors.subarray((row % known) * dimensions, ((row % known) + 1) * dimensions);
    vectors.set(turned(from, random), row * dimensions);
  }
  const texts = [...asked].map((index) => all[index]!.text);
  const queryVectors: Float32Array[] = [];
  for (const text of texts) queryVectors.push((await tower.encode(await tower.tokenize(text))).vector);
  await tower.close();
  return { manifest, documents: stored, vectors, queries: texts, queryVectors };
}

/** Another vector of unit length, not far off. */
function turned(vector: Float32Array, random: () => number): Float32Array {
  const size = TURN * Math.sqrt(12 / vector.length);
  const sum = vector.map((value) => value + size * (random() - 0.5));
  const length = Math.hypot(...sum);
  return sum.map((value) => value / length);
}

/** A document as the document service would write it. */
export function writeOf({ manifest, documents, vectors }: Corpus, row: number): DocumentWrite {
  const { id, title, text, metadata } = documents[row]!;
  const { dimensions } = manifest;
  const vector = vectors.subarray(row * dimensions, (row + 1) * dimensions);
  const passages = [{ vector, sparse: passageTerms(`${title}\n${text}`), text }];
  return {
    kind: 'put',
    tenant: '',
    documentId: id,
    version: 0,
    // As long as the service's content hash.
    contentHash: id.padEnd(64, '0'),
    encodingHash: id.padEnd(64, '0'),
    title,
    text,
    metadata: { ...metadata },
    passages,
  };
}
