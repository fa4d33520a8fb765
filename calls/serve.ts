import { setImmediate as nextTurn } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import { ThreadGate } from './exit-gate.ts';
import type { Request, Response, SentError } from './remote.ts';

/** A call that works in slices: each `yield` ends one. */
type Sliced = Generator<void, unknown, void>;

/** How results cross. */
export interface Crossing {
  /** Says which buffers of a result move instead of being copied. @default none */
  transfer?: (value: unknown) => readonly ArrayBuffer[];
  /** Makes of a result what crosses; `unpack` of the caller makes the result again. @default the result itself */
  pack?: (value: unknown) => unknown;
}

/**
 * Serves an object of this thread or process to the one that started it, until that one closes it. A call that was
 * cancelled while it waited is never begun.
 *
 * A method that is a generator works in slices: the calls that wait are served between two of them, and one that is
 * cancelled ends at its next `yield`, after its `finally` blocks. Several such calls take turns.
 *
 * @param open makes the object from what the caller sent; `notify` sends the caller a line for its log
 * @param send says what of an error crosses to the caller
 * @param crossing how results cross
 */
export function serve<Api extends { close?(): void | Promise<void> }>(
  open: (init: never, notify: (line: string) => void) => Api | Promise<Api>,
  send: (error: unknown) => SentError,
  { transfer = () => [], pack = (value) => value }: Crossing = {},
): void {
  const waiting = new Map<number, () => unknown>();
  const sliced = new Map<number, Sliced>();
  /** Calls to begin before the next slice: those that waited when the last one ended. */
  let first = 0;
  let gate = new ThreadGate(undefined);
  let api: Api | undefined;
  let working = false;
  let closing = false;

  const post = (response: Response, moved: readonly ArrayBuffer[] = []): void => {
    if (parentPort !== null) parentPort.postMessage(response, moved);
    // A parent that has gone waits for no answer.
    else if (process.connected) process.send!(response);
  };
  const hangUp = (): void => {
    if (parentPort !== null) parentPort.close();
    else if (process.connected) process.disconnect();
  };
  const succeed = (id: number, result: unknown): void => {
    const value = pack(result);
    post({ id, value }, transfer(value));
  };
  const fail = (id: number, error: unknown): void => {
    // An error itself would lose its own properties on the way.
    const { reason, message, metadata, stack } = send(error);
    post({ id, error: { reason, message, metadata, stack } });
  };
  /** Runs a call, or the first slice of one. @returns whether it has not failed */
  const run = async (id: number, begin: () => unknown): Promise<boolean> => {
    gate.enter();
    try {
      const value = await begin();
      if (isSliced(value)) step(id, value);
      else succeed(id, value);
      return true;
    } catch (error) {
      fail(id, error);
      return false;
    } finally {
      gate.leave();
    }
  };
  /** Runs one slice. The call goes to the end of the line if there are more. */
  const step = (id: number, call: Sliced): void => {
    sliced.delete(id);
    try {
      const { done, value } = call.next();
      if (done === true) succeed(id, value);
      else sliced.set(id, call);
    } catch (error) {
      fail(id, error);
    }
    first = waiting.size;
  };
  const work = async (): Promise<void> => {
    if (working) return;
    working = true;
    for (;;) {
      // Messages come in between: a call may be cancelled before its turn.
      await nextTurn();
      const [next] = waiting;
      const [slice] = sliced;
      if (slice !== undefined && (next === undefined || first <= 0)) {
        gate.enter();
        step(...slice);
        gate.leave();
      } else if (next !== undefined) {
        const [id, begin] = next;
        waiting.delete(id);
        first--;
        await run(id, begin);
      } else break;
    }
    working = false;
    if (!closing) return;
    gate.enter();
    await api?.close?.();
    gate.leave();
    hangUp();
  };
  const begin = async (init: unknown): Promise<void> => {
    working = true;
    const opened = await run(0, async () => {
      api = await open(init as never, (notice) => post({ notice }));
    });
    working = false;
    if (opened) await work();
    else hangUp();
  };
  const cancel = (id: number): void => {
    waiting.delete(id);
    const call = sliced.get(id);
    sliced.delete(id);
    gate.enter();
    call?.return(undefined);
    gate.leave();
  };
  (parentPort ?? process).on('message', (request: Request) => {
    if ('init' in request) {
      gate = new ThreadGate(request.gate);
      return void begin(request.init);
    }
    if ('cancel' in request) return cancel(request.cancel);
    if ('close' in request) closing = true;
    else waiting.set(request.id, () => methodOf(api!, request.method)(...request.parameters));
    void work();
  });
}

function isSliced(value: unknown): value is Sliced {
  return Object.prototype.toString.call(value) === '[object Generator]';
}

function methodOf(api: object, name: string): (...parameters: readonly unknown[]) => unknown {
  return (api as Record<string, (...parameters: readonly unknown[]) => unknown>)[name]!.bind(api);
}
