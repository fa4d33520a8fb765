import {
  type Collection,
  type DocumentClient,
  type IngestOptions,
  type IngestOutcome,
  type IngestSummary,
  type RecordOperation,
  ScalingnoteError,
  type TextAnalysis,
} from '../../clients/index.ts';
import { idOf } from '../../clients/operation.ts';
import { transportFailure } from '../connection.ts';
import { CliError, note } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import type { Checkpoint, Place } from './checkpoint.ts';
import type { GoodRecord, SourceRecord } from './documents.ts';
import { latestToken } from './freshness.ts';
import { Lanes } from './lanes.ts';
import type { Problems } from './problems.ts';

/** What is sent, and where to. */
export interface SendOptions {
  collection: string;
  tenant: string;
  omitText: boolean;
  bulk: boolean;
  /** Of a collection that is made; absent for the default. */
  analysis?: TextAnalysis | undefined;
  /** Streams at once. */
  parallel: number;
  /** The records after a place. */
  records: (place: Place | undefined) => AsyncIterable<SourceRecord>;
  /** Records of the sources that have been read to their ends. */
  counts: () => readonly number[];
  /** Share of the sources that has been read, where that is known. */
  share: () => number | undefined;
  /** Whether the records can be had again. */
  again: boolean;
  checkpoint?: Checkpoint | undefined;
  problems: Problems;
  signal: AbortSignal;
}

/** What became of the records. */
export type SendSummary = Omit<IngestSummary, 'watermark'>;

const COUNTS = ['sent', 'indexed', 'unchanged', 'deleted', 'rejected'] as const;

/** Sends records until everything is durable, and starts over where the collection becomes another one meanwhile. */
export class Sender {
  readonly #client: DocumentClient;
  readonly #options: SendOptions;
  readonly #progress = new Progress('ingest', 'documents');
  /** Records that have been sent and have no outcome yet, by sequence. */
  readonly #inFlight = new Map<number, GoodRecord>();
  #identity = '';
  /** The latest token of a watermark, or of the run that this one continues. */
  #freshness = '';
  #durable = 0;
  #done = 0;

  constructor(client: DocumentClient, options: SendOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** @param place - where to begin @throws {ScalingnoteError} what ended it for good; what is durable is kept */
  async run(place?: Place): Promise<SendSummary> {
    const { checkpoint, again, collection, problems } = this.#options;
    let begin = place;
    for (let restarted = false; ;) {
      try {
        const summary = await this.#once(begin);
        this.#progress.finish(this.#done);
        return summary;
      } catch (error) {
        if (!isReplaced(error)) {
          checkpoint?.flush();
          throw error;
        }
        checkpoint?.remove();
        const refused = begin !== undefined && this.#done === 0;
        if (restarted && !refused) throw error;
        if (!again) {
          throw new CliError(
            `"${collection}" was replaced by another collection meanwhile, and standard input can't be read twice; load it again`,
            { cause: error },
          );
        }
        note(
          `"${collection}" is another collection now: it was dropped and made again, or restored; starting over`,
        );
        restarted ||= !refused;
        begin = undefined;
        problems.startOver();
      }
    }
  }

  async #once(place: Place | undefined): Promise<SendSummary> {
    const { parallel } = this.#options;
    this.#identity = place?.identity ?? '';
    this.#freshness = place?.freshness ?? '';
    this.#durable = place?.after ?? 0;
    this.#inFlight.clear();
    this.#done = 0;
    const unreadableBefore = this.#options.problems.unreadable;
    const sent = this.#readable(this.#options.records(place));
    const summaries = parallel === 1 ? [await this.#stream(sent)] : await this.#streams(sent, parallel);
    const unreadable = this.#options.problems.unreadable - unreadableBefore;
    const total: SendSummary = {
      sent: unreadable,
      indexed: 0,
      unchanged: 0,
      deleted: 0,
      rejected: unreadable,
      identity: this.#identity,
      freshnessToken: '',
    };
    for (const summary of summaries) for (const key of COUNTS) total[key] += summary[key];
    const token = latestToken(summaries.map(({ freshnessToken }) => freshnessToken));
    if (token === undefined) {
      note(
        'the streams reached several document services, and no freshness token covers what all of them wrote',
      );
    } else total.freshnessToken = token;
    return total;
  }

  /** One stream for all. */
  #stream(sent: AsyncIterable<GoodRecord>): Promise<IngestSummary> {
    const options = this.#ingestOptions(this.#options.signal, (sequence, token) =>
      this.#watermark(sequence, token),
    );
    return this.#client.ingest(operationsOf(sent, this.#inFlight), options);
  }

  /** Several streams, by id; one that fails ends the others. */
  async #streams(sent: AsyncIterable<GoodRecord>, count: number): Promise<IngestSummary[]> {
    const lanes = new Lanes(sent, count, {
      idOf: ({ operation }) => idOf(operation),
      sizeOf: ({ operation }) => ('text' in operation ? (operation.text?.length ?? 0) : 0),
      after: this.#durable,
    });
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, failed.signal]);
    let failure: { error: unknown } | undefined;
    const runs = Array.from({ length: count }, async (_, index) => {
      const options = this.#ingestOptions(signal, (sequence, token) =>
        this.#watermark(lanes.durable(index, sequence), token),
      );
      try {
        return await this.#client.ingest(operationsOf(lanes.items(index), this.#inFlight), options);
      } catch (error) {
        failure ??= { error };
        failed.abort();
        lanes.close();
        throw error;
      }
    });
    const results = await Promise.allSettled(runs);
    if (failure !== undefined) throw failure.error;
    return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  }

  #ingestOptions(signal: AbortSignal, onWatermark: (sequence: number, token: string) => void): IngestOptions {
    const { collection, tenant, omitText, bulk, analysis } = this.#options;
    return {
      collection,
      tenant,
      omitText,
      bulk,
      ...(analysis && { analysis }),
      signal,
      ...(this.#identity !== '' && { expectedIdentity: this.#identity }),
      ...(this.#freshness !== '' && { expectedFreshness: this.#freshness }),
      onReady: ({ identity }) => this.#ready(identity),
      onOutcome: (outcome) => this.#outcome(outcome),
      onWatermark,
      onReconnect: (error, waitMs) =>
        note(`${transportFailure(error)}; trying again in ${Math.ceil(waitMs)} ms`),
    };
  }

  /** All streams, and all connections of a stream, have to reach one collection. */
  #ready(identity: string): void {
    if (this.#identity === '') this.#identity = identity;
    else if (identity !== this.#identity) throw new Replaced();
  }

  #watermark(sequence: number, token: string): void {
    this.#freshness = latestToken([this.#freshness, token]) ?? '';
    if (sequence <= this.#durable) return;
    this.#durable = sequence;
    const { checkpoint, counts } = this.#options;
    checkpoint?.write({
      after: sequence,
      counts: counts(),
      identity: this.#identity,
      freshness: this.#freshness,
    });
  }

  #outcome({ sequence, kind, error }: IngestOutcome): void {
    const record = this.#inFlight.get(sequence);
    this.#inFlight.delete(sequence);
    this.#done++;
    if (kind !== 'rejected') {
      const share = this.#options.share() ?? 0;
      this.#progress.update(this.#done, share > 0 ? Math.round(this.#done / share) : undefined);
    } else if (record !== undefined) {
      this.#options.problems.rejected(record, error?.message ?? '');
    }
  }

  async *#readable(records: AsyncIterable<SourceRecord>): AsyncGenerator<GoodRecord> {
    for await (const record of records) {
      if ('operation' in record) yield record;
      else this.#options.problems.read(record);
    }
  }
}

/** What a stream reached is not the collection that another one, or the same one before, has reached. */
class Replaced extends Error {}

function isReplaced(error: unknown): boolean {
  return (
    error instanceof Replaced || (error instanceof ScalingnoteError && error.reason === 'COLLECTION_REPLACED')
  );
}

async function* operationsOf(
  sent: AsyncIterable<GoodRecord>,
  inFlight: Map<number, GoodRecord>,
): AsyncGenerator<RecordOperation & { sequence: number }> {
  for await (const record of sent) {
    inFlight.set(record.sequence, record);
    yield { ...record.operation, sequence: record.sequence };
  }
}

/** The collection behind a name; `undefined` where there is none. */
export async function findCollection(client: DocumentClient, name: string): Promise<Collection | undefined> {
  return (await client.listCollections()).find((collection) => collection.name === name);
}
