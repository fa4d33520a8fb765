import { createHash } from 'node:crypto';
import type { HttpBindings } from '@hono/node-server';
import { Hono, type Context } from 'hono';
import { LRUCache } from 'lru-cache';
import * as z from 'zod';
import { isLoopback } from '../../runtime/listen-address.ts';
import { type Addresses, Desk } from '../desk.ts';
import { readJson, takes } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';
import type { SessionAnswer } from '../shared/wire.ts';
import { loginNeeded, type Sessions } from './sessions.ts';

/** What a key or a token may have: as much as the services read of one. */
const MAX_CREDENTIAL_CHARS = 8 * 1024;
const LoginBody = z.strictObject({
  credential: z.string().trim().min(1, 'is empty; enter a key').max(MAX_CREDENTIAL_CHARS),
});
/** Senders of spans whose credential is remembered, and for how long. */
const MAX_SENDERS = 100;
const SENDER_MS = 60_000;

/**
 * Who is logged in, and who may not pass without. It comes before all other routes.
 *
 * @param sessions - `undefined` where nobody has to log in
 */
export function loginRoutes(sessions: Sessions | undefined, addresses: Addresses): Hono {
  const app = new Hono();
  if (!sessions) {
    return app.get('/api/session', (context) =>
      context.json({ needed: false, loggedIn: false } satisfies SessionAnswer),
    );
  }
  const senders = new LRUCache<string, true>({ max: MAX_SENDERS, ttl: SENDER_MS });
  return app
    .get('/api/session', async (context) =>
      context.json({ needed: true, loggedIn: await sessions.has(context) } satisfies SessionAnswer),
    )
    .post('/api/session', takes(), async (context) => {
      const { credential } = await readJson(context, LoginBody);
      await sessions.login(context, credential);
      return context.json({ needed: true, loggedIn: true } satisfies SessionAnswer, 201);
    })
    .delete('/api/session', (context) => {
      sessions.logout(context);
      return context.json({ needed: true, loggedIn: false } satisfies SessionAnswer);
    })
    .use('/api/*', async (context, next) => {
      await sessions.require(context, context.req.path.startsWith('/api/traces'));
      await next();
    })
    .use('/v1/*', async (context, next) => {
      await requireSender(context, addresses, senders);
      await next();
    });
}

/** Spans of this machine come as they are; those of another need a credential of the services. */
async function requireSender(
  context: Context,
  addresses: Addresses,
  senders: LRUCache<string, true>,
): Promise<void> {
  const { incoming } = context.env as HttpBindings;
  const peer = (incoming.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  if (isLoopback(peer)) return;
  const authorization = context.req.header('authorization') ?? '';
  const credential = /^bearer +(?<credential>[!-~]+) *$/i.exec(authorization)?.groups?.['credential'];
  if (credential === undefined) {
    throw loginNeeded('send a credential in the header "authorization: Bearer CREDENTIAL"');
  }
  const hash = createHash('sha256').update(credential).digest('base64');
  if (senders.has(hash)) return;
  const desk = new Desk(addresses, credential);
  try {
    await desk.documents.client.describe({ timeoutMs: 5_000 });
    senders.set(hash, true);
  } catch (error) {
    throw new HttpError(401, 'CREDENTIAL_INVALID', 'the services do not take the credential', {
      cause: error,
    });
  } finally {
    await desk.close();
  }
}
