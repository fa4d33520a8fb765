import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openStore } from '../../store/open.ts';
import type { QueryWords } from '../../store/fusion.ts';
import type { SearchHit, SearchQuery } from '../../store/queries.ts';
import { physicalName } from '../../store/store.ts';
import type { DocumentWrite } from '../../store/writes.ts';
import { Analyser } from '../../towers/lexical/analyser.ts';
import { DEFAULT_ANALYSIS } from '../../towers/lexical/analysis.ts';
import { readQuery } from '../../towers/lexical/query.ts';
import { Vocabulary } from '../../towers/lexical/vocabulary.ts';
import type { Tokens, Tower } from '../../towers/tower.ts';
import type { Terms } from '../../training/evaluation/bm25.ts';
import type { Dataset } from '../../training/evaluation/dataset.ts';
import { encodeCached } from '../../training/vectors.ts';
import { legsOfTitles, type TitleLegs, untitled } from './title-legs.ts';

/** Most words of a vocabulary, as the query service has it. */
const MAX_WORDS = 250_000;

/** Documents that are written at a time. */
const WRITTEN_TOGETHER = 256;

/** Both legs of a search, best first. */
export interface BothLegs {
  dense: SearchHit[];
  sparse: SearchHit[];
  /** Of the query. */
  words?: QueryWords;
}

/** What the store answers to each query of a data set. */
export interface DatasetLegs {
  /** In the order of the queries. */
  legs: BothLegs[];
  /** What makes terms of texts as the collection does. */
  terms: Terms;
  /** The text of a document's passage, without its title. */
  passageOf: (documentId: string, passage: number) => string;
  /** What it answers to titles, where they are asked for. */
  titles?: TitleLegs;
}

/** What to search, and with what. */
export interface LegsRequest {
  dataset: Dataset;
  documentTower: Tower;
  /** Of the document tower's space, or that tower itself. */
  queryTower: Tower;
  /** How deep each leg is. */
  depth: number;
  /** Search for titles, too. */
  titles?: boolean;
  cacheDir?: string | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Searches a data set as the services would: documents become passages, vectors and terms as the document service makes
 * them, and the embedded store, in a folder of its own that is gone afterwards, ranks them. Vectors of documents are cached.
 */
export async function legsOf(request: LegsRequest): Promise<DatasetLegs> {
  const { dataset, documentTower, queryTower, depth, cacheDir, onProgress } = request;
  const { space, dimensions, queryPrompt } = documentTower.manifest;
  const analyser = new Analyser(DEFAULT_ANALYSIS);
  const rowOf = (rows: Float32Array, row: number): Float32Array =>
    rows.slice(row * dimensions, (row + 1) * dimensions);
  const putsOf = async (documents: readonly Dataset['documents'][number][]): Promise<DocumentWrite[]> => {
    const passages: { document: number; text: string }[] = [];
    const inputs: Tokens[] = [];
    for (const [index, document] of documents.entries()) {
      if (document.title.trim() === '' && document.text.trim() === '') continue;
      for await (const { tokens, text } of documentTower.eachPassage(document)) {
        passages.push({ document: index, text });
        inputs.push(tokens);
      }
    }
    const vectors = await encodeCached(documentTower, inputs, { cacheDir, onProgress });
    return writesOf(analyser, documents, passages, (row) => rowOf(vectors, row));
  };
  const writes = await putsOf(dataset.documents);
  const texts = new Map(
    writes.map((write) => [
      write.documentId,
      write.kind === 'put' ? write.passages.map(({ text = '' }) => text) : [],
    ]),
  );
  const passageOf = (documentId: string, passage: number): string => texts.get(documentId)?.[passage] ?? '';
  const own = queryTower === documentTower && queryPrompt !== undefined ? { prompt: queryPrompt } : {};
  const asked = await queryTower.encodeAll(
    await queryTower.tokenizeAll(
      dataset.queries.map(({ text }) => text),
      own,
    ),
  );
  const directory = await mkdtemp(join(tmpdir(), 'scalingnote-eval-'));
  const store = await openStore({ kind: 'embedded', directory });
  try {
    await store.ensureCollection('eval', { fingerprint: space.fingerprint, dimensions });
    const collection = physicalName('eval', space.fingerprint);
    for (let start = 0; start < writes.length; start += WRITTEN_TOGETHER) {
      await store.writeDocuments(collection, writes.slice(start, start + WRITTEN_TOGETHER));
    }
    const { counted } = await store.words(collection, '', { limit: MAX_WORDS });
    const reading = { analyser, vocabulary: Vocabulary.ofCounted(counted!), prefix: false };
    const terms: Terms = {
      ofDocument: ({ title, text }) => analyser.document(title, text).counts(text),
      ofQuery: (text) => readQuery(text, reading).sparse,
    };
    const scope: SearchQuery = { tenant: '', limit: depth, idsOnly: true };
    const legs: BothLegs[] = [];
    for (const [index, { text }] of dataset.queries.entries()) {
      const words = readQuery(text, reading);
      const [dense, sparse] = await Promise.all([
        store.search(collection, { ...scope, vector: rowOf(asked, index) }),
        store.search(collection, { ...scope, sparse: words.sparse }),
      ]);
      legs.push({ dense, sparse, words });
    }
    if (request.titles !== true) return { legs, terms, passageOf };
    const titles = await legsOfTitles(store, {
      collection,
      asked: untitled(dataset.documents),
      queryTower,
      prompt: own,
      scope,
      reading,
      writesOf: putsOf,
    });
    return { legs, terms, passageOf, titles };
  } finally {
    await store.close();
    await rm(directory, { recursive: true, force: true });
  }
}

function writesOf(
  analyser: Analyser,
  documents: readonly Dataset['documents'][number][],
  passages: readonly { document: number; text: string }[],
  vector: (passage: number) => Float32Array,
): DocumentWrite[] {
  const analysed = documents.map((document) => analyser.document(document.title, document.text));
  const writes = new Map<number, DocumentWrite & { kind: 'put' }>();
  for (const [index, { document, text }] of passages.entries()) {
    const { id } = documents[document]!;
    const write = writes.get(document) ?? {
      kind: 'put' as const,
      tenant: '',
      documentId: id,
      version: 0,
      contentHash: id,
      encodingHash: id,
      title: '',
      metadata: {},
      passages: [],
    };
    writes.set(document, {
      ...write,
      passages: [...write.passages, { vector: vector(index), text, ...analysed[document]!.passage(text) }],
    });
  }
  return [...writes.values()];
}
