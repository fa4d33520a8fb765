import { setTimeout as wait } from 'node:timers/promises';
import type { FullDocument } from '../store/document.ts';
import { putOf } from '../store/maintenance/copy.ts';
import type { CallOptions, Store } from '../store/store.ts';
import { Analyser } from '../towers/lexical/analyser.ts';
import {
  type Analysis,
  ANALYSIS_TTL_MS,
  type AnalysisRecord,
  newRecord,
  readRecord,
  writeRecord,
} from '../towers/lexical/analysis.ts';

/** What to analyse again, and how. */
export interface ReanalyseOptions {
  store: Store;
  /** By its alias or its physical name. */
  collection: string;
  analysis: Analysis;
  signal: AbortSignal;
  /** How long to wait until services know of the new analysis, in milliseconds. @default longer than they believe the old one */
  settleMs?: number;
  onProgress?: (documents: number) => void;
}

/** What a re-analysis did. */
export interface Reanalysed {
  physicalName: string;
  analysis: AnalysisRecord;
  /** Documents that have their new terms. */
  documents: number;
  /** Those whose texts are not stored: they keep the terms that they had. */
  withoutText: number;
  /** Those that others wrote meanwhile, with their new terms already. */
  changed: number;
}

/** Documents and bytes of one page: one write. */
const PAGE_DOCUMENTS = 256;
const PAGE_BYTES = 4 * 1024 * 1024;

/**
 * Makes new terms of the texts that are stored; nothing is encoded. Services go on meanwhile: new documents get the new
 * terms at once, and searches find the old ones by their words as they are written. Where it ends early, run it again.
 *
 * @throws {StoreError} `COLLECTION_NOT_FOUND`, `COLLECTION_READ_ONLY`
 */
export async function reanalyse({
  store,
  collection,
  analysis,
  signal,
  settleMs = 2 * ANALYSIS_TTL_MS,
  onProgress,
}: ReanalyseOptions): Promise<Reanalysed> {
  const call: CallOptions = { signal };
  const { physicalName } = await store.findCollection(collection, call);
  const record = newRecord(analysis);
  await store.setAnalysis(physicalName, writeRecord({ ...record, unfinished: true }), call);
  await wait(settleMs, undefined, { signal });
  const analyser = new Analyser(analysis);
  const report = { physicalName, analysis: record, documents: 0, withoutText: 0, changed: 0 };
  for (const tenant of (await store.tenants(physicalName, call)).sort()) {
    let after: string | undefined;
    do {
      const page = { limit: PAGE_DOCUMENTS, bytes: PAGE_BYTES, withVectors: true };
      const { documents, next } = await store.scroll(
        physicalName,
        tenant,
        { ...page, ...(after !== undefined && { after }) },
        call,
      );
      const known = documents.filter(hasTexts);
      const writes = known.map((document) => withNewTerms(document, analyser));
      const results = writes.length > 0 ? await store.writeDocuments(physicalName, writes, call) : [];
      const written = results.filter(({ outcome }) => outcome === 'indexed').length;
      report.documents += written;
      report.changed += results.length - written;
      report.withoutText += documents.length - known.length;
      onProgress?.(report.documents + report.changed + report.withoutText);
      after = next;
    } while (after !== undefined);
  }
  await store.setAnalysis(physicalName, writeRecord(record), call);
  return report;
}

/** How a collection is analysed; `undefined` where it was made before there was a choice, or nobody can read it. */
export function analysisIn(record: string | undefined): AnalysisRecord | undefined {
  if (record === undefined) return undefined;
  try {
    return readRecord(record);
  } catch {
    return undefined;
  }
}

function hasTexts({ passages }: FullDocument): boolean {
  return passages.every(({ text }) => text !== undefined);
}

function withNewTerms(document: FullDocument, analyser: Analyser): ReturnType<typeof putOf> {
  const put = putOf(document);
  const { title, passages, text = passages.map((passage) => passage.text).join('\n') } = put;
  const analysed = analyser.document(title, text);
  return {
    ...put,
    expected: { contentHash: put.contentHash },
    passages: passages.map((passage) => ({ ...passage, ...analysed.passage(passage.text!) })),
  };
}
