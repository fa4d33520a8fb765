import type { ClientDuplexStream } from '@grpc/grpc-js';
import { status as Code } from '@grpc/grpc-js';
import type { SearchStreamRequest } from '../proto/generated/scalingnote/v1/SearchStreamRequest.ts';
import type { SearchStreamResponse__Output } from '../proto/generated/scalingnote/v1/SearchStreamResponse.ts';
import { unpackStatus } from '../proto/status.ts';
import type { SearchResult } from './answers.ts';
import { ScalingnoteError, toScalingnoteError } from './errors.ts';
import { fromSearchResponse } from './from-wire.ts';
import { type SearchRequest, toWireSearch } from './search-request.ts';

type Call = ClientDuplexStream<SearchStreamRequest, SearchStreamResponse__Output>;

interface Waiting {
  call: Call;
  resolve(result: SearchResult | undefined): void;
  reject(error: unknown): void;
}

/**
 * Search as you type: a newer query supersedes the older one. A stream that broke fails what was waiting on it; the
 * next query opens another.
 */
export class SearchStream {
  readonly #open: () => Call;
  readonly #waiting = new Map<number, Waiting>();
  #call: Call | undefined;
  #sequence = 0;
  #closed = false;

  /** @param open - opens a stream */
  constructor(open: () => Call) {
    this.#open = open;
  }

  /**
   * Searches; `undefined` where a newer query came first.
   *
   * @param options - `traceparent`: W3C trace context of this query, for a stream outlives a trace
   * @throws {ScalingnoteError} why this query failed; later ones may go through
   */
  async search(
    request: SearchRequest,
    { traceparent = '' }: { traceparent?: string } = {},
  ): Promise<SearchResult | undefined> {
    if (this.#closed) throw new Error('the search stream is closed; open another with searchStream()');
    const search = toWireSearch(request);
    const call = (this.#call ??= this.#connect());
    const sequence = ++this.#sequence;
    return new Promise((resolve, reject) => {
      this.#waiting.set(sequence, { call, resolve, reject });
      call.write({ sequence, search, traceparent });
    });
  }

  /** Ends the stream; what is waiting is still answered. */
  close(): void {
    this.#closed = true;
    this.#call?.end();
  }

  #connect(): Call {
    const call = this.#open();
    call.on('data', (response: SearchStreamResponse__Output) => this.#answer(response));
    call.on('error', (error: Error) => this.#ended(call, toScalingnoteError(error)));
    call.on('end', () => {
      const message = 'the server ended the search stream; search again';
      this.#ended(call, new ScalingnoteError({ code: Code.UNAVAILABLE, message, reason: '' }));
    });
    return call;
  }

  #answer(response: SearchStreamResponse__Output): void {
    const sequence = Number(response.sequence);
    const waiting = this.#waiting.get(sequence);
    this.#waiting.delete(sequence);
    if (response.result) waiting?.resolve(fromSearchResponse(response.result));
    else if (response.error) waiting?.reject(new ScalingnoteError(unpackStatus(response.error)));
    else waiting?.resolve(undefined);
  }

  #ended(call: Call, failure: unknown): void {
    if (this.#call === call) this.#call = undefined;
    for (const [sequence, waiting] of this.#waiting) {
      if (waiting.call !== call) continue;
      this.#waiting.delete(sequence);
      waiting.reject(failure);
    }
  }
}
