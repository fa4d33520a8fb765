import { setMaxListeners } from 'node:events';
import { status } from '@grpc/grpc-js';
import { SpanKind } from '@opentelemetry/api';
import type { Logger } from 'pino';
import type { SearchRequest__Output } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import type { SearchResponse } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import type { SearchStreamRequest__Output } from '../../proto/generated/scalingnote/v1/SearchStreamRequest.ts';
import type { SearchStreamResponse } from '../../proto/generated/scalingnote/v1/SearchStreamResponse.ts';
import { invalidArgument, reportError, toRichStatus, type ServiceError } from '../runtime/errors.ts';
import type { Call, StreamHandler } from '../runtime/handler.ts';
import { parseTraceparent } from '../runtime/telemetry/trace-context.ts';
import type { Metrics } from '../runtime/telemetry/metrics.ts';
import { endRequest } from '../runtime/telemetry/rpc.ts';
import { parseSequence } from '../runtime/validate.ts';
import { flawOf } from '../runtime/request-guard.ts';

const STREAM_METHOD = { 'rpc.method': 'scalingnote.v1.QueryService/SearchStream' };

/** A query of a stream that has no answer yet. */
interface Pending {
  sequence: number;
  controller: AbortController;
}

/**
 * Search as you type. Any newer query supersedes the one before it: that one is answered as superseded at once, and
 * its search is given up. An error of a query is the answer to this query.
 *
 * A sequence that does not increase ends the stream: the answer to it could not be told from the answer to the query
 * that had the number before.
 */
export function searchStream(
  search: (request: SearchRequest__Output, call: Call) => Promise<SearchResponse>,
  { log, slowMs, metrics }: { log: Logger; slowMs: number; metrics?: Metrics | undefined },
): StreamHandler<SearchStreamRequest__Output, SearchStreamResponse> {
  return async ({ requests, write, ...call }) => {
    let pending: Pending | undefined;
    let last = 0;
    const inFlight = new Set<Promise<void>>();

    const answer = async (query: Pending, request: SearchStreamRequest__Output): Promise<void> => {
      const response: SearchStreamResponse = { sequence: query.sequence };
      const parent = request.traceparent === '' ? undefined : parseTraceparent(request.traceparent);
      const startTime = performance.now();
      const span = call.span?.part('SearchStream query', {
        kind: SpanKind.SERVER,
        attributes: { 'scalingnote.sequence': query.sequence },
        ...(parent && { parent }),
      });
      let failure: ServiceError | undefined;
      try {
        const flaw = flawOf(request);
        if (flaw) throw flaw;
        if (!request.search) throw invalidArgument('search', 'is not set; set the search');
        response.result = await search(request.search, {
          ...call,
          signal: query.controller.signal,
          ...(span && { span }),
        });
      } catch (error) {
        if (pending === query) {
          failure = reportError(error, log, { method: 'SearchStream', ...span?.logFields });
          response.error = toRichStatus(failure);
        }
      }
      const superseded = pending !== query;
      const code = superseded ? status.CANCELLED : (failure?.code ?? status.OK);
      metrics
        ?.streamQueryDuration({ ...STREAM_METHOD, 'rpc.response.status_code': status[code] })
        .record((performance.now() - startTime) / 1000, span);
      if (span) {
        if (superseded) span.setAttribute('scalingnote.superseded', true);
        endRequest(span, failure, performance.now() - startTime >= slowMs);
        span.end();
      }
      // Otherwise it has been superseded, and answered.
      if (superseded) return;
      pending = undefined;
      await write(response);
    };

    const giveUp = (): void => pending?.controller.abort(call.signal.reason);
    call.signal.addEventListener('abort', giveUp);
    try {
      for await (const request of requests) {
        const sequence = parseSequence(request.sequence, last);
        last = sequence;
        const superseded = pending;
        const query: Pending = { sequence, controller: new AbortController() };
        // As of a call's: a query may be many pieces of work, each of which listens.
        setMaxListeners(0, query.controller.signal);
        pending = query;
        superseded?.controller.abort();
        const answered = answer(query, request);
        inFlight.add(answered);
        // A write fails only where the call is over, of which the loop hears as well.
        answered.catch(() => {}).finally(() => inFlight.delete(answered));
        if (superseded) {
          await write({ sequence: superseded.sequence, superseded: { bySequence: sequence } });
        }
      }
      await Promise.all(inFlight);
    } finally {
      giveUp();
      call.signal.removeEventListener('abort', giveUp);
    }
  };
}
