import { status } from '@grpc/grpc-js';
import type { TextAnalysis } from '../../proto/generated/scalingnote/v1/TextAnalysis.ts';
import type { CollectionKey } from '../../store/store.ts';
import { Analyser } from '../../towers/lexical/analyser.ts';
import {
  type AnalysisRecord,
  lexicalFingerprint,
  mismatchOf,
  readRecord,
} from '../../towers/lexical/analysis.ts';
import { ServiceError } from './errors.ts';

/** Analysers by what they do: each remembers the words that it has seen. */
const analysers = new Map<string, Analyser>();

/** Most analysers at once: collections differ little in how they are analysed. */
const MAX_ANALYSERS = 16;

/** The command that gives a collection another analysis. */
function fixOf(collection: string): string {
  return `"scalingnote collections reanalyse ${collection}"`;
}

/**
 * What analyses the texts of a collection; `undefined` for one that was made before there was a choice.
 *
 * @param record as the store keeps it
 * @throws {ServiceError} `ANALYSIS_MISMATCH` where this process makes other terms than the collection has
 */
export function analyserOf(collection: string, record: string | undefined): Analyser | undefined {
  if (record === undefined) return undefined;
  const known = analysers.get(record);
  if (known) return known;
  const read = recordOf(collection, record);
  const mismatch = mismatchOf(read);
  if (mismatch !== undefined) {
    throw analysisMismatch(
      collection,
      `the texts of collection "${collection}" were analysed ${mismatch}, so that the same words may have other terms; ` +
        `run ${fixOf(collection)}, which encodes nothing, or search with mode dense`,
    );
  }
  if (analysers.size >= MAX_ANALYSERS) analysers.clear();
  const analyser = new Analyser(read);
  analysers.set(record, analyser);
  return analyser;
}

/** @throws {ServiceError} `ANALYSIS_MISMATCH` where this program can't read the record */
export function recordOf(collection: string, record: string): AnalysisRecord {
  try {
    return readRecord(record);
  } catch {
    throw analysisMismatch(
      collection,
      `this program can't read how the texts of collection "${collection}" are analysed; use the version of scalingnote ` +
        `that wrote it, or run ${fixOf(collection)}`,
    );
  }
}

/** A collection has other terms than are asked for. */
export function analysisMismatch(collection: string, message: string): ServiceError {
  return new ServiceError(status.FAILED_PRECONDITION, 'ANALYSIS_MISMATCH', message, {
    metadata: { collection },
  });
}

/** The collection has no analysis, which a request needs. @param what the request asks for */
export function notAnalysed(
  { readOnly }: Pick<CollectionKey, 'readOnly'>,
  collection: string,
  what: string,
): ServiceError {
  const why =
    readOnly === true
      ? `"${collection}" was adopted, and others write it; leave it out`
      : `"${collection}" was made before there were such; run ${fixOf(collection)}, which encodes nothing, or leave it out`;
  return new ServiceError(
    status.FAILED_PRECONDITION,
    'NOT_ANALYSED',
    `${what} needs a collection that knows its words, and ${why}`,
    { metadata: { collection } },
  );
}

/** What a store says of a collection as the wire has it. @throws nothing: what can't be read is shown without a language */
export function withAnalysis<Info extends { analysis?: string }>({
  analysis,
  ...info
}: Info): Omit<Info, 'analysis'> & { analysis?: TextAnalysis } {
  if (analysis === undefined) return info;
  let message: TextAnalysis = {};
  try {
    const record = readRecord(analysis);
    const { language, keepDiacritics, unfinished = false } = record;
    message = { language, keepDiacritics, fingerprint: lexicalFingerprint(record), unfinished };
  } catch {
    // A later version wrote it.
  }
  return { ...info, analysis: message };
}
