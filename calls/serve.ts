import { setImmediate as nextTurn } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import type { Request, Response, SentError } from './remote.ts';

/**
 * Serves an object of this thread or process to the one that started it, until that one closes it. A call that was
 * cancelled while it waited is never begun.
 *
 * @param open makes the object from what the caller sent; `notify` sends the caller a line for its log
 * @param send says what of an error crosses to the caller
 * @param transfer says which buffers of a result move instead of being copied
 */
export function serve<Api extends { close?(): void | Promise<void> }>(
  open: (init: never, notify: (line: string) => void) => Api | Promise<Api>,
  send: (error: unknown) => SentError,
  transfer: (value: unknown) => readonly ArrayBuffer[] = () => [],
): void {
  const waiting = new Map<number, () => unknown>();
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
  const answer = async (id: number, run: () => unknown): Promise<boolean> => {
    try {
      const value = await run();
      post({ id, value }, transfer(value));
      return true;
    } catch (error) {
      // An error itself would lose its own properties on the way.
      const { reason, message, metadata, stack } = send(error);
      post({ id, error: { reason, message, metadata, stack } });
      return false;
    }
  };
  const work = async (): Promise<void> => {
    if (working) return;
    working = true;
    for (;;) {
      // Messages come in between: a call may be cancelled before its turn.
      await nextTurn();
      const [next] = waiting;
      if (next === undefined) break;
      const [id, run] = next;
      waiting.delete(id);
      await answer(id, run);
    }
    working = false;
    if (!closing) return;
    await api?.close?.();
    hangUp();
  };
  const begin = async (init: unknown): Promise<void> => {
    working = true;
    const opened = await answer(0, async () => {
      api = await open(init as never, (notice) => post({ notice }));
    });
    working = false;
    if (opened) await work();
    else hangUp();
  };
  (parentPort ?? process).on('message', (request: Request) => {
    if ('init' in request) return void begin(request.init);
    if ('cancel' in request) return void waiting.delete(request.cancel);
    if ('close' in request) closing = true;
    else waiting.set(request.id, () => methodOf(api!, request.method)(...request.parameters));
    void work();
  });
}

function methodOf(api: object, name: string): (...parameters: readonly unknown[]) => unknown {
  return (api as Record<string, (...parameters: readonly unknown[]) => unknown>)[name]!.bind(api);
}
