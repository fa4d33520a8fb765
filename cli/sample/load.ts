import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { DocumentClient, IngestOperation, IngestSummary } from '../../clients/index.ts';
import { Progress } from '../output/progress.ts';
import { commonFirst } from './order.ts';
import { readWordNet, SAMPLE_COLLECTION } from './wordnet.ts';

/** How much of the sample to take: a number of documents, all, or what fits in {@link SAMPLE_SECONDS}. */
export type SampleSize = number | 'all' | 'fitting';

/** A newcomer waits two minutes, once. */
const SAMPLE_SECONDS = 115;

/** What became of the sample. */
export type SampleSummary = Pick<IngestSummary, 'sent' | 'indexed' | 'unchanged' | 'rejected'>;

/** What an earlier run has sent, so that the next run can skip it. */
interface Marker {
  space: string;
  sent: number;
  size: SampleSize;
}

/** Streams the sample in, unless an earlier run has. @param data - folder where the services keep theirs */
export async function loadSample(
  client: DocumentClient,
  options: { data: string; size: SampleSize; signal: AbortSignal },
): Promise<SampleSummary> {
  const { space } = (await client.describe()).tower;
  const markerFile = join(options.data, 'sample.json');
  const marker = readMarker(markerFile);
  if (marker !== undefined && marker.space === space.fingerprint && covers(marker, options.size)) {
    const stored = (await client.listCollections()).find(({ name }) => name === SAMPLE_COLLECTION);
    if (stored !== undefined && stored.documents >= marker.sent) {
      return { sent: 0, indexed: 0, unchanged: marker.sent, rejected: 0 };
    }
  }
  const documents = await commonFirst(await readWordNet());
  const total =
    typeof options.size === 'number' ? Math.min(options.size, documents.length) : documents.length;
  const progress = new Progress('WordNet', 'documents');
  const started = performance.now();
  let done = 0;
  function* operations(): Generator<IngestOperation> {
    for (const document of documents.slice(0, total)) {
      const seconds = (performance.now() - started) / 1000;
      if (options.size === 'fitting' && seconds > SAMPLE_SECONDS) return;
      yield document;
    }
  }
  const summary = await client.ingest(operations(), {
    collection: SAMPLE_COLLECTION,
    signal: options.signal,
    onOutcome: () => progress.update(++done, expected(done, started, total, options.size)),
  });
  progress.finish(done);
  mkdirSync(dirname(markerFile), { recursive: true });
  const made: Marker = {
    space: space.fingerprint,
    sent: summary.sent - summary.rejected,
    size: options.size,
  };
  writeFileSync(markerFile, JSON.stringify(made));
  return summary;
}

/** Where the ingest will end, at the rate so far. */
function expected(done: number, started: number, total: number, size: SampleSize): number {
  if (size !== 'fitting') return total;
  const seconds = (performance.now() - started) / 1000;
  return Math.max(done, Math.min(total, Math.round((done / seconds) * SAMPLE_SECONDS)));
}

function covers(marker: Marker, size: SampleSize): boolean {
  if (size === 'fitting') return true;
  return size === 'all' ? marker.size === 'all' : marker.size === 'all' || marker.sent >= size;
}

function readMarker(file: string): Marker | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Marker;
  } catch {
    return undefined;
  }
}
