import type { Trace, TraceOrder, TraceSummary } from '../clients/console-traces.ts';
import { CliError } from './output/print.ts';

/** The console answers out of its memory. */
const TIMEOUT_MS = 5_000;

/** Time between two looks for a trace that is on its way. */
const POLL_MS = 100;

/** Reads the traces that a console keeps. */
export class TraceReader {
  readonly #address: string;

  /** @param address - `host:port` of the console */
  constructor(address: string) {
    this.#address = address;
  }

  /** @throws {CliError} */
  async list(order: TraceOrder, limit: number): Promise<TraceSummary[]> {
    return (await this.#get(`/api/traces?order=${order}&limit=${limit}`)) as TraceSummary[];
  }

  /** @throws {CliError} where the trace is not there */
  async get(traceId: string): Promise<Trace> {
    return (await this.#get(`/api/traces/${encodeURIComponent(traceId)}`)) as Trace;
  }

  /**
   * Waits for a trace that began a moment ago: several processes send its spans, each in its own time. Resolves when the
   * trace is whole, or when the time is over, to the spans that came.
   *
   * @throws {CliError} where no span came in time
   */
  async await(traceId: string, isWhole: (trace: Trace) => boolean, patienceMs: number): Promise<Trace> {
    const until = performance.now() + patienceMs;
    for (;;) {
      try {
        const trace = await this.get(traceId);
        if (isWhole(trace) || performance.now() >= until) return trace;
      } catch (error) {
        if (performance.now() >= until || !(error instanceof TraceMissing)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async #get(path: string): Promise<unknown> {
    let response: Response;
    try {
      response = await fetch(`http://${this.#address}${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch (error) {
      const { cause, message } = error as Error & { cause?: Error };
      throw new CliError(
        `the console at ${this.#address} can't be reached (${cause?.message || message}); is "scalingnote up" running?`,
        { cause: error },
      );
    }
    const answer = (await response.json().catch(() => undefined)) as
      | { error?: { message?: string } }
      | undefined;
    if (response.ok) return answer;
    const message = answer?.error?.message ?? `the console at ${this.#address} answered ${response.status}`;
    throw response.status === 404 ? new TraceMissing(message) : new CliError(message);
  }
}

class TraceMissing extends CliError {}
