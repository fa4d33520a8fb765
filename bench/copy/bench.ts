import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbeddedStore } from '../../store/embedded/embedded-store.ts';
import { copyCollection } from '../../store/maintenance/copy.ts';
import { openStore } from '../../store/open.ts';
import { Engine, engineFolder } from '../../store/qdrant/testing/engine.ts';
import type { Store } from '../../store/store.ts';
import type { FullDocument } from '../../store/document.ts';
import type { DocumentWrite } from '../../store/writes.ts';
import { MemoryStore } from '../../store/testing/memory-store.ts';
import { findTool } from '../../test/testing/optional-tool.ts';
import type { Bench, Comparison } from '../report.ts';

const DIMENSIONS = 384;
const SPACE = { fingerprint: `sp1_${'c'.repeat(32)}`, dimensions: DIMENSIONS };
const NAME = 'docs';

/** Documents to copy, and those that are copied one by one: enough for a rate. */
const DOCUMENTS = 20_000;
const ONE_BY_ONE = 1_000;

/** Documents of one write while the source is filled. */
const FILL = 1_000;

/** Characters of a text and distinct terms in it: a paragraph. */
const CHARACTERS = 600;
const TERMS = 40;

const GOAL = 10_000;

/**
 * Compares a copy of an embedded store with one that reads and writes a document at a time: into a store in this process,
 * which costs next to nothing, so that reading and the copy itself are measured; and into Qdrant's own engine behind its
 * front in Python, where that is installed. The comparison at the end of a copy is part of its time.
 */
export const bench: Bench = {
  async run(progress) {
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-copy-'));
    const source = await openEmbeddedStore({ directory: folder });
    const comparisons: Comparison[] = [];
    try {
      progress(`filling an embedded store with ${DOCUMENTS} documents`);
      await fill(source);
      progress('into memory');
      comparisons.push(await compare('embedded to memory', source, async () => new MemoryStore()));
      const engine = findTool('qdrant-engine');
      if (engine.path === undefined) progress(engine.skip);
      else comparisons.push(await toEngine(source, engine.path, progress));
    } finally {
      await source.close();
      rmSync(folder, { recursive: true });
    }
    return {
      parameters: {
        documents: DOCUMENTS,
        oneByOne: ONE_BY_ONE,
        dimensions: DIMENSIONS,
        characters: CHARACTERS,
      },
      comparisons,
    };
  },
};

async function toEngine(
  source: Store,
  python: string,
  progress: (line: string) => void,
): Promise<Comparison> {
  progress("into Qdrant's engine behind its front in Python");
  const folder = engineFolder();
  const engine = await Engine.start(python, folder.path);
  try {
    return await compare("embedded to Qdrant's engine, Python front", source, () =>
      openStore({ kind: 'qdrant', url: engine.url, expectedPassages: DOCUMENTS }),
    );
  } finally {
    await engine.kill();
    folder.remove();
  }
}

async function compare(what: string, source: Store, open: () => Promise<Store>): Promise<Comparison> {
  const target = await open();
  try {
    const peer = await rateOf(ONE_BY_ONE, () => oneByOne(source, target));
    const ours = await rateOf(DOCUMENTS, () =>
      copyCollection({ source, target, collection: NAME, as: 'copy' }),
    );
    return {
      what,
      unit: 'documents/s',
      ours,
      peer,
      ratio: ours / peer,
      goal: { text: `>= ${GOAL}/s`, met: ours >= GOAL },
    };
  } finally {
    await target.close();
  }
}

/** The copy that anyone writes first. */
async function oneByOne(source: Store, target: Store): Promise<void> {
  await target.ensureCollection('naive', SPACE);
  const { documents } = await source.scroll(NAME, '', { limit: ONE_BY_ONE });
  for (const key of documents) {
    const [document] = await source.readDocuments(NAME, [key], { withVectors: true });
    await target.writeDocuments('naive', [asWrite(document!)]);
  }
}

function asWrite({ passages, encodingHash = '', ...document }: FullDocument): DocumentWrite {
  return {
    kind: 'put',
    ...document,
    encodingHash,
    passages: passages.map(({ vector, ...passage }) => ({ ...passage, vector: vector! })),
  };
}

async function rateOf(documents: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (1000 * documents) / (performance.now() - began);
}

async function fill(store: Store): Promise<void> {
  await store.ensureCollection(NAME, SPACE);
  for (let start = 0; start < DOCUMENTS; start += FILL) {
    const writes = Array.from({ length: FILL }, (_, index) => documentOf(start + index));
    await store.writeDocuments(NAME, writes);
  }
}

function documentOf(index: number): DocumentWrite {
  const text = `document ${index} `.repeat(CHARACTERS).slice(0, CHARACTERS);
  const vector = Float32Array.from({ length: DIMENSIONS }, (_, place) => Math.sin(index * 7 + place * 13));
  return {
    kind: 'put',
    tenant: '',
    documentId: `document-${String(index).padStart(8, '0')}`,
    version: 1,
    contentHash: `hash-${index}`,
    encodingHash: `encoding-${index}`,
    title: `Document ${index}`,
    text,
    metadata: { index, even: index % 2 === 0, tags: ['a', 'b'] },
    passages: [
      {
        vector,
        sparse: {
          indices: Array.from({ length: TERMS }, (_, term) => (index * 31 + term * 7919) % 1_000_003),
          values: Array.from({ length: TERMS }, (_, term) => 1 + (term % 5) / 4),
        },
        text,
        span: { start: 0, end: text.length },
      },
    ],
  };
}
