import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MeasureFamiliarityRequest__Output } from '../../proto/generated/scalingnote/v1/MeasureFamiliarityRequest.ts';
import type { MeasureFamiliarityResponse } from '../../proto/generated/scalingnote/v1/MeasureFamiliarityResponse.ts';
import type { Store } from '../../store/store.ts';
import { passageTexts } from '../../store/document.ts';
import { Familiarity } from '../../towers/familiarity.ts';
import { towerMessage } from '../runtime/service-info.ts';
import type { Call } from '../runtime/handler.ts';
import type { HistogramSeries } from '../runtime/telemetry/instruments.ts';
import type { Metrics } from '../runtime/telemetry/metrics.ts';
import type { QueryTower } from './encoder.ts';

/** Documents of a collection to sample: enough to tell an unfamiliar collection from a familiar one. */
const SAMPLED_DOCUMENTS = 200;

/** How much of a document to sample, in UTF-16 units: some milliseconds of tokenising. */
const SAMPLED_CHARACTERS = 4_000;

/** Documents to read at a time. */
const PAGE = 20;

/** Measures how many tokens of queries and collections the query tower hardly saw in its training. */
export class FamiliarityMeter {
  readonly #tower: QueryTower;
  readonly #familiarity: Familiarity | undefined;
  readonly #metrics: Metrics | undefined;
  readonly #unknown: HistogramSeries | undefined;

  constructor(tower: QueryTower, metrics: Metrics | undefined) {
    const { familiarity } = tower.manifest.distillation ?? {};
    this.#tower = tower;
    this.#metrics = metrics;
    this.#unknown = metrics?.unknownTokens({});
    this.#familiarity = familiarity === undefined ? undefined : new Familiarity(familiarity);
  }

  /** Records a query. @param tokens - special tokens included, which every training saw */
  record(tokens: readonly number[]): void {
    if (this.#familiarity === undefined || tokens.length === 0) return;
    this.#unknown?.record(this.#familiarity.unknown(tokens) / tokens.length);
  }

  /** Looks at a sample of a collection, whose name has been checked. @throws {StoreError} as the store does */
  async measure(
    store: Pick<Store, 'scroll'>,
    { collection, tenant }: MeasureFamiliarityRequest__Output,
    call: Call,
  ): Promise<MeasureFamiliarityResponse> {
    let documents = 0;
    let tokens = 0;
    let unknown = 0;
    let after: string | undefined;
    do {
      const page = await store.scroll(
        collection,
        tenant,
        { limit: PAGE, ...(after === undefined ? {} : { after }) },
        call,
      );
      for (const document of page.documents) {
        documents++;
        const { ids } = await this.#tower.tokenize(
          `${document.title} ${passageTexts(document).join(' ')}`.slice(0, SAMPLED_CHARACTERS),
        );
        tokens += ids.length;
        unknown += this.#familiarity?.unknown(ids) ?? 0;
        // Lets searches run in between.
        await nextTurn();
      }
      after = page.next;
    } while (after !== undefined && documents < SAMPLED_DOCUMENTS);
    const queryTower = towerMessage(this.#tower);
    if (this.#familiarity === undefined || tokens === 0) return { documents, tokens, queryTower, collection };
    const unknownTokenShare = unknown / tokens;
    this.#metrics?.unknownInCollection({ 'scalingnote.collection': collection }).set(unknownTokenShare);
    return { documents, tokens, unknownTokenShare, queryTower, collection };
  }
}
