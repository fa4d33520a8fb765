import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { makeTestKey } from '../../runtime/access/testing/test-issuer.ts';
import { until } from '../../runtime/testing/harness.ts';
import { ConfigError } from '../../runtime/setting-types.ts';
import { searchRoutes } from '../search/routes.ts';
import { serveRoutes, type Answer, type Bridge } from '../testing/bridge.ts';
import { startGuarded, type Guarded } from '../testing/guarded.ts';
import { CLIENT, type OpenIdProvider } from '../testing/openid-provider.ts';
import type { Issuer } from './issuer.ts';
import { loginRoutes } from './routes.ts';
import { Sessions } from './sessions.ts';

let guarded: Guarded;
let provider: OpenIdProvider;
let issuer: Issuer;
let sessions: Sessions;
let bridge: Bridge;

before(async () => {
  guarded = await startGuarded();
  ({ provider } = guarded);
  const addresses = { document: guarded.address, queries: [guarded.address] };
  sessions = new Sessions(addresses, [], false, { checkedMs: 0 });
  issuer = guarded.issuer();
  bridge = await serveRoutes([loginRoutes(sessions, addresses, issuer), searchRoutes(sessions.deskOf)]);
});

after(async () => {
  await bridge.stop();
  await sessions.close();
  await issuer.close();
  await guarded.stop();
});

beforeEach(() => {
  provider.lie = {};
  provider.isAway = false;
  provider.refresh = { gives: false, lastsS: 3600 };
  provider.renewed.length = provider.reused.length = 0;
  provider.revokeAll();
  provider.redeemed.length = 0;
  provider.rights = { scope: 'openid search encode', tenants: ['*'], collections: ['*'] };
});

interface Begun {
  cookie: string;
  location: URL;
}

/** Presses the button of the login page. */
async function begin(): Promise<Begun> {
  const { status, headers, json, text } = await bridge.ask('POST', '/api/session/issuer', { body: {} });
  assert.equal(status, 201, text);
  const set = headers['set-cookie']![0]!;
  assert.match(set, /^scalingnote-login=[\w.-]+; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/);
  return { cookie: set.split(';')[0]!, location: new URL((json as { location: string }).location) };
}

/** Goes to the issuer, and comes to where it sends people back. */
async function visit({ location }: Begun): Promise<URL> {
  const { status, headers } = await fetch(location, { redirect: 'manual' });
  assert.equal(status, 302);
  return new URL(headers.get('location')!);
}

/** Comes back to the console, as from another site. */
function comeBack(url: URL, cookie?: string): Promise<Answer> {
  assert.equal(url.host, bridge.address);
  const headers = { 'sec-fetch-site': 'cross-site', ...(cookie !== undefined && { cookie }) };
  return bridge.ask('GET', `${url.pathname}${url.search}`, { headers });
}

/** The cookie of a session that an answer sets. */
function sessionIn({ status, headers, text }: Answer): string {
  assert.equal(status, 303, text);
  assert.equal(headers.location, '/');
  const set = headers['set-cookie']!.find((each) => each.startsWith('scalingnote='))!;
  assert.match(set, /^scalingnote=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; SameSite=Strict$/);
  assert.ok(headers['set-cookie']!.some((each) => each.startsWith('scalingnote-login=; Max-Age=0')));
  return set.split(';')[0]!;
}

async function logIn(): Promise<string> {
  const begun = await begin();
  return sessionIn(await comeBack(await visit(begun), begun.cookie));
}

/** An error for people: the page says it, and no session has begun. */
function refused({ status, headers, text }: Answer, wanted: number, why: RegExp): void {
  assert.equal(status, wanted, text);
  assert.match(headers['content-type']!, /^text\/html/);
  assert.match(text, why);
  assert.ok(!(headers['set-cookie'] ?? []).some((each) => each.startsWith('scalingnote=')));
  assert.equal(sessions.size, 0);
}

async function encodes(cookie: string): Promise<string> {
  const body = { text: 'bee', services: [guarded.address] };
  const { json } = await bridge.ask('POST', '/api/cosines', { body, headers: { cookie } });
  const { error, errors } = json as { error?: { reason: string }; errors?: (string | null)[] };
  return error?.reason ?? errors?.[0] ?? 'OK';
}

async function endAll(cookie: string): Promise<Answer> {
  return bridge.ask('DELETE', '/api/session', { headers: { cookie } });
}

test('the issuer says who somebody is, and what its token allows', async () => {
  const cookie = await logIn();
  const { json } = await bridge.ask('GET', '/api/session', { headers: { cookie } });
  assert.deepEqual(json, { needed: true, loggedIn: true, issuer: provider.address });
  assert.equal(await encodes(cookie), 'OK');
  await endAll(cookie);
  provider.rights = { scope: 'search', tenants: ['acme'] };
  const less = await logIn();
  assert.match(await encodes(less), /needs the scope encode/);
  await endAll(less);
});

test('a logout ends the session here, and says where it ends at the issuer', async () => {
  const cookie = await logIn();
  const { json } = await endAll(cookie);
  const { logoutUrl } = json as { logoutUrl: string };
  assert.equal(new URL(logoutUrl).origin, provider.address);
  // A token in an address would be in logs.
  assert.deepEqual([...new URL(logoutUrl).searchParams.keys()], ['client_id']);
  assert.equal(await encodes(cookie), 'LOGIN_NEEDED');
});

describe('a login with a refresh token', () => {
  beforeEach(() => {
    provider.refresh = { gives: true, lastsS: 0 };
  });

  test('goes on with new tokens, each renewed once', async () => {
    const cookie = await logIn();
    for (let turn = 1; turn <= 3; turn++) {
      const said = await Promise.all(Array.from({ length: 8 }, () => encodes(cookie)));
      assert.deepEqual(new Set(said), new Set(['OK']));
    }
    assert.ok(provider.renewed.length >= 3);
    assert.deepEqual(provider.reused, []);
    assert.equal(provider.live, 1);
    // What a person may do is what the newest token says.
    provider.rights = { scope: 'search', tenants: ['*'] };
    assert.match(await encodes(cookie), /needs the scope encode/);
    await endAll(cookie);
  });

  test('is not asked for more before its token is due', async () => {
    provider.refresh = { gives: true, lastsS: 3600 };
    const cookie = await logIn();
    assert.equal(await encodes(cookie), 'OK');
    assert.deepEqual(provider.renewed, []);
    await endAll(cookie);
  });

  test('ends where the issuer has taken it back', async () => {
    const cookie = await logIn();
    provider.revokeAll();
    assert.equal(await encodes(cookie), 'LOGIN_NEEDED');
    assert.equal(sessions.size, 0);
    assert.equal(provider.renewed.length, 1);
  });

  test('ends where it becomes that of somebody else, whose tokens are given back', async () => {
    provider.refresh = { gives: true, lastsS: 0, subject: 'alice' };
    const cookie = await logIn();
    assert.equal(await encodes(cookie), 'OK');
    provider.refresh = { gives: true, lastsS: 0, subject: 'mallory' };
    assert.equal(await encodes(cookie), 'LOGIN_NEEDED');
    assert.equal(sessions.size, 0);
    await until(() => provider.live === 0);
  });

  test('outlives an issuer that is away for as long as its token does', async () => {
    const cookie = await logIn();
    provider.isAway = true;
    assert.equal(await encodes(cookie), 'OK');
    assert.equal(await encodes(cookie), 'OK');
    provider.isAway = false;
    await endAll(cookie);
  });

  test('is forgotten by the issuer with the logout', async () => {
    const cookie = await logIn();
    assert.equal(provider.live, 1);
    await endAll(cookie);
    await until(() => provider.live === 0);
  });

  test('leaves nothing with the issuer where the services refuse it', async () => {
    provider.rights = { aud: 'others' };
    const begun = await begin();
    refused(await comeBack(await visit(begun), begun.cookie), 401, /LOGIN_NEEDED/);
    await until(() => provider.live === 0);
  });
});

test('a session ends with its token', async () => {
  provider.rights = { ...provider.rights, exp: Math.floor(Date.now() / 1000) - 28 };
  // It is good for as long as clocks may differ.
  const cookie = await logIn();
  let said = 'OK';
  // The session is looked at before the call, and the token may end between the two.
  while (said === 'OK' || /is expired/.test(said)) {
    await setTimeout(50);
    said = await encodes(cookie);
  }
  assert.equal(said, 'LOGIN_NEEDED');
  assert.equal(sessions.size, 0);
});

describe('what comes back is refused', () => {
  test('in a browser that did not begin it', async () => {
    const victim = await begin();
    const attacker = await begin();
    const back = await visit(attacker);
    refused(await comeBack(back), 401, /did not begin this login/);
    refused(await comeBack(back, `${victim.cookie.slice(0, -4)}AAAA`), 401, /did not begin this login/);
    refused(await comeBack(back, victim.cookie), 401, /can’t be trusted/);
    assert.deepEqual(provider.redeemed, []);
  });

  test('with another state, none, or two', async () => {
    for (const change of [
      (url: URL) => url.searchParams.set('state', 'x'),
      (url: URL) => url.searchParams.delete('state'),
      (url: URL) => url.searchParams.append('state', url.searchParams.get('state')!),
    ]) {
      const begun = await begin();
      const back = await visit(begun);
      change(back);
      refused(await comeBack(back, begun.cookie), 401, /can’t be trusted/);
    }
    assert.deepEqual(provider.redeemed, []);
  });

  test('of another issuer, or of none', async () => {
    for (const iss of ['https://evil.example', undefined]) {
      const begun = await begin();
      const back = await visit(begun);
      if (iss === undefined) back.searchParams.delete('iss');
      else back.searchParams.set('iss', iss);
      refused(await comeBack(back, begun.cookie), 401, /can’t be trusted/);
    }
    assert.deepEqual(provider.redeemed, []);
  });

  test('with a code that was used, or is another’s', async () => {
    const begun = await begin();
    const back = await visit(begun);
    const cookie = sessionIn(await comeBack(back, begun.cookie));
    await endAll(cookie);
    refused(await comeBack(back, begun.cookie), 401, /invalid_grant/);
    const [mine, other] = [await begin(), await begin()];
    const url = await visit(mine);
    url.searchParams.set('code', (await visit(other)).searchParams.get('code')!);
    refused(await comeBack(url, mine.cookie), 401, /invalid_grant/);
  });

  test('after ten minutes', async (context) => {
    const begun = await begin();
    const back = await visit(begun);
    context.mock.timers.enable({ apis: ['Date'], now: Date.now() + 601_000 });
    refused(await comeBack(back, begun.cookie), 401, /took too long/);
  });

  const past = Math.floor(Date.now() / 1000) - 3600;
  const lies: Record<string, OpenIdProvider['lie']> = {
    'another nonce': { claims: { nonce: 'x' } },
    'no nonce': { claims: { nonce: undefined } },
    'another issuer': { claims: { iss: 'https://evil.example' } },
    'another audience': { claims: { aud: 'other' } },
    'more audiences than ours, and no azp': { claims: { aud: [CLIENT.id, 'other'] } },
    'another party': { claims: { azp: 'other', aud: [CLIENT.id, 'other'] } },
    'an end that is past': { claims: { exp: past, iat: past - 60 } },
    'no end': { claims: { exp: undefined } },
    'no subject': { claims: { sub: undefined } },
    'a beginning in the future': { claims: { nbf: past + 7200 } },
    'a key of somebody else': { key: makeTestKey('one', 'RS256') },
    'another algorithm': { key: makeTestKey('two', 'ES256') },
  };
  for (const [name, lie] of Object.entries(lies)) {
    test(`an identity token with ${name}`, async () => {
      provider.lie = lie;
      const begun = await begin();
      refused(await comeBack(await visit(begun), begun.cookie), 401, /can’t be trusted/);
      assert.equal(provider.redeemed.length, 1);
    });
  }

  test('with an error of the issuer, of which only a name is shown', async () => {
    for (const [error, shown] of [
      ['access_denied', /refuses the login: access_denied/],
      ['<script>alert(1)</script>', /refuses the login: an error without a name/],
    ] as const) {
      const begun = await begin();
      const back = await visit(begun);
      back.searchParams.delete('code');
      back.searchParams.set('error', error);
      back.searchParams.set('error_description', '<b>call this number</b>');
      const answer = await comeBack(back, begun.cookie);
      refused(answer, 401, shown);
      assert.doesNotMatch(answer.text, /<script|<b>/);
    }
  });

  test('where the services do not take the token', async () => {
    provider.rights = { aud: 'somebody else' };
    const begun = await begin();
    refused(await comeBack(await visit(begun), begun.cookie), 401, /LOGIN_NEEDED/);
  });

  test('where the issuer is away, and it works again afterwards', async () => {
    const begun = await begin();
    provider.isAway = true;
    refused(await comeBack(await visit(begun), begun.cookie), 503, /does not answer as it should/);
    provider.isAway = false;
    await endAll(await logIn());
  });
});

test('a page of another site can’t begin a login', async () => {
  for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
    const { status } = await bridge.ask('POST', '/api/session/issuer', { body: {}, headers });
    assert.equal(status, 403);
  }
});

test('an issuer that names itself otherwise is not believed', async () => {
  provider.metadata = { issuer: 'https://evil.example' };
  const other = guarded.issuer();
  const routes = loginRoutes(sessions, { document: guarded.address, queries: [guarded.address] }, other);
  const second = await serveRoutes([routes]);
  const { json } = await second.ask('POST', '/api/session/issuer', { body: {} });
  assert.match(
    (json as { error: { message: string } }).error.message,
    /can’t be trusted|does not answer as it should/,
  );
  provider.metadata = {};
  await second.stop();
  await other.close();
});

test('settings that do not fit together stop the start', () => {
  for (const [settings, why] of [
    [{ oidcIssuer: 'http://issuer.example' }, /must be https/],
    [{ oidcIssuer: 'issuer.example' }, /must be https/],
    [{ oidcClientId: undefined }, /needs --oidc-client-id/],
    [{ oidcClientSecretFile: '/nowhere', oidcClientSecret: undefined }, /--oidc-client-secret-file: E\w+:/],
    [{ oidcClientSecretFile: '/nowhere' }, /drop one of them/],
    [{ oidcScopes: 'email' }, /lacks openid/],
    [{ oidcRedirect: 'https://console.example/' }, /must be https:\/\/HOST\/login\/callback/],
    [{ oidcRedirect: 'http://console.example/login/callback' }, /must be https/],
    [{ oidcCa: '/nowhere' }, /is for an https address/],
    [{ oidcIssuer: undefined }, /--oidc-client-id needs --oidc-issuer/],
  ] as const) {
    assert.throws(
      () => guarded.issuer(settings),
      (error) => error instanceof ConfigError && why.test(error.message),
      String(why),
    );
  }
});
