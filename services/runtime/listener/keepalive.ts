import type { ServerHttp2Session } from 'node:http2';

/** How a connection is asked whether its client is still there, in milliseconds. */
export interface KeepAlive {
  everyMs: number;
  /** Time for the client to answer. */
  patienceMs: number;
}

/**
 * Often enough for the idle limits of common load balancers (60 s and more), so that these never cut a quiet stream.
 */
const KEEP_ALIVE: KeepAlive = { everyMs: 30_000, patienceMs: 10_000 };

/** Asks the client of a connection from time to time whether it is still there, and ends one whose client is not. */
export function keepAlive(
  session: ServerHttp2Session,
  { everyMs, patienceMs }: KeepAlive = KEEP_ALIVE,
): void {
  let timer: NodeJS.Timeout;
  const end = (): void => session.destroy();
  const wait = (): void => {
    if (!session.destroyed) timer = setTimeout(ask, everyMs).unref();
  };
  const ask = (): void => {
    if (session.destroyed) return;
    timer = setTimeout(end, patienceMs).unref();
    const isSent = session.ping((error) => {
      clearTimeout(timer);
      if (error) end();
      else wait();
    });
    // Too many questions of others wait for an answer, too.
    if (!isSent) end();
  };
  session.once('close', () => clearTimeout(timer));
  wait();
}
