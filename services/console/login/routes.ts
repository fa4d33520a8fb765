import { createHash } from 'node:crypto';
import type { HttpBindings } from '@hono/node-server';
import { Hono, type Context } from 'hono';
import { html } from 'hono/html';
import { LRUCache } from 'lru-cache';
import * as z from 'zod';
import { isLoopback } from '../../runtime/listen-address.ts';
import { type Addresses, Desk } from '../desk.ts';
import { readJson, takes } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';
import type { LoginBegun, SessionAnswer } from '../shared/wire.ts';
import { CALLBACK, type Issuer } from './issuer.ts';
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
 * @param issuer - where people can log in as well
 */
export function loginRoutes(sessions: Sessions | undefined, addresses: Addresses, issuer?: Issuer): Hono {
  const app = new Hono();
  if (!sessions) {
    return app.get('/api/session', (context) =>
      context.json({ needed: false, loggedIn: false } satisfies SessionAnswer),
    );
  }
  const senders = new LRUCache<string, true>({ max: MAX_SENDERS, ttl: SENDER_MS });
  const answer = (loggedIn: boolean, logoutUrl?: string): SessionAnswer => ({
    needed: true,
    loggedIn,
    ...(issuer && { issuer: issuer.name }),
    ...(logoutUrl !== undefined && { logoutUrl }),
  });
  if (issuer) issuerRoutes(app, issuer, sessions);
  return app
    .get('/api/session', async (context) => context.json(answer(await sessions.has(context))))
    .post('/api/session', takes(), async (context) => {
      const { credential } = await readJson(context, LoginBody);
      await sessions.login(context, credential);
      return context.json(answer(true), 201);
    })
    .delete('/api/session', (context) => {
      const byIssuer = sessions.logout(context);
      return context.json(answer(false, byIssuer ? issuer?.logoutUrl : undefined));
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

/** The way to an issuer, and back. */
function issuerRoutes(app: Hono, issuer: Issuer, sessions: Sessions): void {
  app
    .post('/api/session/issuer', takes(), async (context) => {
      await readJson(context, z.strictObject({}));
      return context.json({ location: await issuer.begin(context) } satisfies LoginBegun, 201);
    })
    .get(CALLBACK, async (context) => {
      try {
        await sessions.login(context, () => issuer.finish(context));
        return context.redirect('/', 303);
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        // A person reads this, and no program.
        return context.html(problemPage(error), error.status);
      }
    });
}

function problemPage({ reason, message }: HttpError) {
  return html`<!doctype html>
    <html lang="en">
      <meta charset="utf-8" />
      <title>log in · scalingnote</title>
      <main>
        <h1>The login failed</h1>
        <p role="alert">${message} (${reason})</p>
        <p><a href="/">back to the login</a></p>
      </main>
    </html>`;
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
