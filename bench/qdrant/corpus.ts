import { readWordNet, type SampleDocument } from '../../cli/sample/wordnet.ts';
import { openTower } from '../../towers/open.ts';
import type { TowerManifest } from '../../towers/manifest.ts';
import { passageTerms } from '../../towers/terms.ts';
import type { DocumentWrite } from '../../store/writes.ts';

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

/** WordNet's glosses: most are documents, some are queries. */
export async function makeCorpus(documents: number, queries: number): Promise<Corpus> {
  const all = await readWordNet();
  if (all.length < documents + queries) throw new Error(`WordNet has ${all.length} synsets only`);
  const tower = await openTower(TOWER);
  const { manifest } = tower;
  const encode = async ({ title, text }: { title: string; text: string }): Promise<Float32Array> =>
    (await tower.encode(await tower.tokenize(`${title} ${text}`))).vector;
  // Take queries at regular intervals, so that documents and queries have all parts of speech.
  const step = Math.floor(all.length / queries);
  const asked = new Set(Array.from({ length: queries }, (_, index) => index * step));
  const stored = all.filter((_, index) => !asked.has(index)).slice(0, documents);
  const vectors = new Float32Array(documents * manifest.dimensions);
  for (const [row, document] of stored.entries()) {
    vectors.set(await encode(document), row * manifest.dimensions);
  }
  const texts = [...asked].map((index) => all[index]!.text);
  const queryVectors: Float32Array[] = [];
  for (const text of texts) queryVectors.push((await tower.encode(await tower.tokenize(text))).vector);
  await tower.close();
  return { manifest, documents: stored, vectors, queries: texts, queryVectors };
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
