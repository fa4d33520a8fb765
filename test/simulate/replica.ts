import { Metadata } from '@grpc/grpc-js';
import { pino } from 'pino';
import type { SearchResponse__Output } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { queryService } from '../../services/query/service.ts';
import { FakeTower } from '../../services/query/testing/fakes.ts';
import { StoreError } from '../../store/errors.ts';
import type { SearchHit } from '../../store/queries.ts';
import { MemoryStore } from '../../store/testing/memory-store.ts';
import type { Simulation } from '../../store/testing/simulation.ts';

/** A store that counts how often it was not as fresh as somebody asked. */
export class Replica extends MemoryStore {
  refusals = 0;

  override async search(...call: Parameters<MemoryStore['search']>): Promise<SearchHit[]> {
    try {
      return await super.search(...call);
    } catch (error) {
      if (error instanceof StoreError && error.reason === 'STORE_NOT_FRESH') this.refusals++;
      throw error;
    }
  }
}

/** The query service over the replica. */
export function simulatedSearch(
  store: MemoryStore,
  simulation: Simulation,
): (request: object, deadline: number) => Promise<SearchResponse__Output> {
  const log = pino({ level: 'silent' });
  const tower = new FakeTower({ prompt: '' });
  const service = queryService({ tower, store, slots: 4, queue: 16, cache: 0, log });
  const handlers = service.bind({
    log,
    draining: new AbortController().signal,
    enter: () => () => {},
  });
  const { requestSerialize, requestDeserialize, responseSerialize, responseDeserialize } =
    service.definition['Search']!;
  const search = handlers['Search'] as unknown as (
    call: unknown,
    callback: (error: Error | null, response?: unknown) => void,
  ) => unknown;
  return (request, deadline) =>
    new Promise((resolve, reject) => {
      const call = {
        request: requestDeserialize(requestSerialize(request)) as object,
        metadata: new Metadata(),
        getDeadline: () => deadline,
        once: (_: 'cancelled', listener: () => void) =>
          void simulation.pause(deadline - simulation.now).then(listener),
      };
      void search(call, (error, response) => {
        if (error) reject(error);
        else resolve(responseDeserialize(responseSerialize(response)) as SearchResponse__Output);
      });
    });
}
