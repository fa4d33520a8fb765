import assert from 'node:assert/strict';
import { createHmac, sign } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { after, afterEach, describe, test } from 'node:test';
import { pino, type Logger } from 'pino';
import { Settings } from '../../config.ts';
import { ServiceError } from '../../errors.ts';
import { recordingLog, until } from '../../testing/harness.ts';
import type { Caller } from '../caller.ts';
import { openAccess, type OpenAccess } from '../open.ts';
import { makeTestKey, TestIssuer, type TestKey } from '../testing/test-issuer.ts';
import type { KeyTimes } from './issuer-keys.ts';
import { MAX_VERIFYING, MAX_WAITING } from './tokens.ts';

const silent = pino({ level: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-jwt-'));
const ISSUER = 'https://issuer.example';
const opened: OpenAccess[] = [];

afterEach(() => {
  for (const each of opened.splice(0)) each.close();
});
after(() => rmSync(folder, { recursive: true }));

let files = 0;

/** Access that takes tokens of an issuer whose keys are at an address, or else in a file. */
function takes(
  issuer: TestIssuer,
  more: { jwks?: string; log?: Logger; times?: KeyTimes; settings?: object } = {},
): OpenAccess {
  let { jwks } = more;
  if (jwks === undefined) {
    jwks = join(folder, `${files++}.json`);
    writeFileSync(jwks, issuer.jwks());
  }
  const settings = { jwtIssuer: issuer.name, jwtAudience: issuer.audience, jwtJwks: jwks, ...more.settings };
  const access = openAccess(Settings.parse(settings), more.log ?? silent, more.times);
  opened.push(access);
  return access;
}

function present({ access }: OpenAccess, token: string, deadline?: () => number): Caller | Promise<Caller> {
  return access.callerOf('search', { authorization: `Bearer ${token}`, deadline });
}

/** `OK`, or the reason of the refusal. */
async function judged(open: OpenAccess, token: string): Promise<string> {
  try {
    await present(open, token);
    return 'OK';
  } catch (error) {
    assert.ok(error instanceof ServiceError, String(error));
    assert.ok(!error.message.includes(token));
    return error.reason;
  }
}

/** Waits until tokens are judged so. */
async function untilJudged(open: OpenAccess, token: () => Promise<string>, reason: string): Promise<void> {
  for (let tries = 0; (await judged(open, await token())) !== reason; tries++) {
    assert.ok(tries < 500, `is never ${reason}`);
    await setTimeout(20);
  }
}

const base64url = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

const soon = (): number => Math.floor(Date.now() / 1000) + 3600;

/** A token that no library has made: whatever is said, signed with the key. */
function byHand(key: TestKey, header: object | string, claims: object | string): string {
  const body = `${base64url(header)}.${base64url(claims)}`;
  const isRsa = key.alg.startsWith('RS');
  const options = isRsa ? key.privateKey : { key: key.privateKey, dsaEncoding: 'ieee-p1363' as const };
  return `${body}.${sign('sha256', Buffer.from(body), options).toString('base64url')}`;
}

const claims = (more: object = {}): object => ({
  iss: ISSUER,
  aud: 'scalingnote',
  sub: 'alice',
  exp: soon(),
  scope: 'search',
  ...more,
});

/** Publishes keys; counts who asks. */
async function publish(issuer: TestIssuer): Promise<{
  address: string;
  server: Server;
  asked: () => number;
  away: (away: boolean) => void;
}> {
  let asked = 0;
  let isAway = false;
  const server = createServer((_, response) => {
    asked++;
    if (isAway) response.writeHead(503).end();
    else response.end(issuer.jwks());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  return { address, server, asked: () => asked, away: (away) => (isAway = away) };
}

test('a token says what its caller may do, and what it does not say is not allowed', async () => {
  const issuer = new TestIssuer(ISSUER);
  const open = takes(issuer);
  const token = await issuer.token({ scope: 'openid search', tenants: ['acme', 'b*'], collections: 'wiki' });
  const caller = await present(open, token);
  assert.deepEqual([caller.id, caller.kind, [...caller.scopes]], ['alice', 'token', ['search']]);
  assert.ok(caller.tenants.has('acme') && caller.tenants.has('bee') && !caller.tenants.has('cat'));
  assert.ok(caller.collections.has('wiki') && !caller.collections.has('wiki-de'));
  const bare = await present(open, await issuer.token({}));
  assert.deepEqual([bare.scopes.size, bare.tenants.has(''), bare.collections.has('')], [0, false, false]);
});

test('claims have the names that the settings say', async () => {
  const issuer = new TestIssuer(ISSUER);
  const settings = { jwtScopesClaim: 'roles', jwtTenantsClaim: 'https://x/org', jwtCollectionsClaim: 'c' };
  const open = takes(issuer, { settings });
  const token = await issuer.token({ roles: ['search'], 'https://x/org': 'acme', c: '*', scope: 'admin' });
  const { scopes, tenants, collections } = await present(open, token);
  assert.deepEqual([[...scopes], tenants.texts, collections.all], [['search'], ['acme'], true]);
});

for (const alg of ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA']) {
  test(`a signature of ${alg} is taken`, async () => {
    const issuer = new TestIssuer(ISSUER, [makeTestKey('a', alg), makeTestKey('b', alg)]);
    assert.equal(await judged(takes(issuer), await issuer.token({}, issuer.keys[1])), 'OK');
  });
}

for (const alg of ['RS256', 'ES256']) {
  test(`a token that node:crypto has signed with ${alg} is taken, with and without a key id`, async () => {
    const issuer = new TestIssuer(ISSUER, [makeTestKey('a', alg), makeTestKey('b', alg)]);
    const open = takes(issuer);
    const [, second] = issuer.keys;
    assert.equal(await judged(open, byHand(second!, { alg, kid: 'b' }, claims())), 'OK');
    assert.equal(await judged(open, byHand(second!, { alg }, claims())), 'OK');
    assert.equal(await judged(open, byHand(second!, { alg, kid: 'a' }, claims())), 'CREDENTIAL_INVALID');
  });
}

describe('hostile tokens', () => {
  const issuer = new TestIssuer(ISSUER, [makeTestKey('one'), makeTestKey('rsa', 'RS256')]);
  const [key, rsa] = issuer.keys as [TestKey, TestKey];
  const head = { alg: 'ES256', kid: 'one' };
  const hmac = (secret: string | Buffer): string => {
    const body = `${base64url({ alg: 'HS256', kid: 'rsa' })}.${base64url(claims())}`;
    return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
  };
  const good = (): string => byHand(key, head, claims());
  const stranger = makeTestKey('one');
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' });
  const cases: Record<string, () => string | Promise<string>> = {
    'no signature': () => `${base64url({ alg: 'none' })}.${base64url(claims())}.`,
    'no signature, in capitals': () => `${base64url({ alg: 'NONE', kid: 'one' })}.${base64url(claims())}.`,
    'an empty signature': () => `${base64url(head)}.${base64url(claims())}.`,
    'HS256 with the public key as PEM': () => hmac(pem),
    'HS256 with the public key as DER': () => hmac(rsa.publicKey.export({ type: 'spki', format: 'der' })),
    'HS256 with the JWKS': () => hmac(issuer.jwks()),
    'a key of somebody else with the same id': () => byHand(stranger, head, claims()),
    'another algorithm than the key has': () => byHand(key, { alg: 'RS256', kid: 'one' }, claims()),
    'an algorithm that is not on the list': () => byHand(rsa, { alg: 'RS512', kid: 'rsa' }, claims()),
    'a key id that is a path': () => byHand(stranger, { alg: 'ES256', kid: '../../../dev/null' }, claims()),
    'a key id that is SQL': () => byHand(stranger, { alg: 'ES256', kid: "' UNION SELECT 'a" }, claims()),
    'a key id that is no text': () => byHand(key, { alg: 'ES256', kid: { $ne: '' } }, claims()),
    'a key in its header': () =>
      byHand(stranger, { alg: 'ES256', jwk: stranger.publicKey.export({ format: 'jwk' }) }, claims()),
    'the address of keys in its header': () =>
      byHand(stranger, { ...head, jku: 'http://127.0.0.1:1/jwks', x5u: 'http://127.0.0.1:1/x' }, claims()),
    'certificates in its header': () => byHand(stranger, { ...head, x5c: ['MIIB'] }, claims()),
    'a critical extension': () => byHand(key, { ...head, crit: ['new'], new: 1 }, claims()),
    'a payload that is not encoded': () => byHand(key, { ...head, b64: false, crit: ['b64'] }, claims()),
    'another audience': () => byHand(key, head, claims({ aud: 'other' })),
    'no audience': () => byHand(key, head, claims({ aud: undefined })),
    'an audience that only begins so': () => byHand(key, head, claims({ aud: 'scalingnote.evil' })),
    'another issuer': () => byHand(key, head, claims({ iss: 'https://issuer.example/' })),
    'no issuer': () => byHand(key, head, claims({ iss: undefined })),
    'a list of issuers': () => byHand(key, head, claims({ iss: [ISSUER] })),
    'no end': () => byHand(key, head, claims({ exp: undefined })),
    'an end that is a text': () => byHand(key, head, claims({ exp: String(soon()) })),
    'a beginning in the future': () => byHand(key, head, claims({ nbf: soon() })),
    'no subject': () => byHand(key, head, claims({ sub: undefined })),
    'a subject that is no text': () => byHand(key, head, claims({ sub: 7 })),
    'an endless subject': () => byHand(key, head, claims({ sub: 'a'.repeat(1000) })),
    'scopes that are no texts': () => byHand(key, head, claims({ scp: [{}] })),
    'tenants that are no texts': () => byHand(key, head, claims({ tenants: [1] })),
    'a pattern that is none': () => byHand(key, head, claims({ tenants: 'a**' })),
    'more tenants than a credential has': () =>
      byHand(key, head, claims({ tenants: Array.from({ length: 65 }, (_, index) => `t${index}`) })),
    'a claim that comes twice': () =>
      byHand(key, head, JSON.stringify(claims()).replace('{', '{"tenants":"acme","tenants":"*",')),
    'a header that comes twice': () => byHand(key, '{"alg":"ES256","kid":"one","alg":"none"}', claims()),
    'bytes that are not UTF-8': () => {
      const body = `${base64url(head)}.${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}`;
      return `${body}.${'A'.repeat(86)}`;
    },
    'a payload that is no object': () => byHand(key, head, '[]'),
    'a payload that is no JSON': () => byHand(key, head, 'exp'),
    'two parts': () => good().split('.').slice(0, 2).join('.'),
    'four parts': () => `${good()}.${base64url('x')}`,
    'five parts': () => `${good()}.${base64url('x')}.${base64url('x')}`,
    'dots alone': () => '..',
    'a token that is cut': () => good().slice(0, -4),
    'a token with another payload': () => {
      const [header, , signature] = good().split('.');
      return `${header}.${base64url(claims({ scope: 'admin' }))}.${signature}`;
    },
    'a token that is huge': () => byHand(key, head, claims({ padding: 'a'.repeat(100_000) })),
    'a prototype': () => byHand(key, head, '{"__proto__":{"iss":"https://issuer.example"}}'),
  };
  const { log, lines } = recordingLog();
  for (const [name, make] of Object.entries(cases)) {
    test(name, async () => {
      const open = takes(issuer, { log });
      const token = await make();
      assert.equal(await judged(open, token), 'CREDENTIAL_INVALID');
      // Nor is it taken the second time.
      assert.equal(await judged(open, token), 'CREDENTIAL_INVALID');
      assert.equal(await judged(open, good()), 'OK');
      const text = JSON.stringify(lines);
      for (const part of token.split('.')) assert.ok(part.length < 8 || !text.includes(part));
    });
  }

  test('what a header points to is not fetched', async () => {
    const { address, server, asked } = await publish(new TestIssuer(ISSUER, [stranger]));
    const open = takes(issuer);
    const token = byHand(stranger, { ...head, jku: address, x5u: address }, claims());
    assert.equal(await judged(open, token), 'CREDENTIAL_INVALID');
    assert.equal(asked(), 0);
    server.close();
  });
});

test('a token ends when it says, give or take the skew', async () => {
  const issuer = new TestIssuer(ISSUER);
  const open = takes(issuer, { settings: { jwtSkewS: 60 } });
  const now = Math.floor(Date.now() / 1000);
  assert.equal(await judged(open, await issuer.token({ exp: now - 90 })), 'CREDENTIAL_EXPIRED');
  const late = await present(open, await issuer.token({ exp: now - 30 }));
  assert.equal(late.death(Date.now()), undefined);
  assert.equal(late.death((now + 31) * 1000), 'expired');
  assert.equal(await judged(open, await issuer.token({ nbf: now + 30 })), 'OK');
  assert.equal(await judged(open, await issuer.token({ nbf: now + 90 })), 'CREDENTIAL_INVALID');
});

test('a token that was seen does not wait, and ends all the same', async (context) => {
  const issuer = new TestIssuer(ISSUER);
  const open = takes(issuer, { settings: { jwtSkewS: 0 } });
  const token = await issuer.token({});
  const first = present(open, token);
  assert.ok(first instanceof Promise);
  const caller = await first;
  assert.equal(present(open, token), caller);
  context.mock.timers.enable({ apis: ['Date'], now: (soon() + 1) * 1000 });
  assert.throws(() => present(open, token), { reason: 'CREDENTIAL_EXPIRED' });
});

describe('keys of an issuer', () => {
  test('a key that is new is fetched, once an interval whatever comes', async () => {
    const issuer = new TestIssuer(ISSUER);
    const { address, server, asked } = await publish(issuer);
    const open = takes(issuer, { jwks: address, times: { cooldownMs: 300, refreshMs: 60_000 } });
    assert.equal(await judged(open, await issuer.token({})), 'OK');
    assert.equal(asked(), 1);
    const strangers = Array.from({ length: 20 }, (_, index) => makeTestKey(`stranger ${index}`));
    const refused = await Promise.all(
      strangers.map(async (key) => judged(open, await issuer.token({}, key))),
    );
    assert.deepEqual([...new Set(refused)], ['CREDENTIAL_INVALID']);
    assert.ok(asked() <= 2, `${asked()} fetches`);
    issuer.keys = [makeTestKey('two'), ...issuer.keys];
    const token = await issuer.token({});
    await untilJudged(open, () => Promise.resolve(token), 'OK');
    assert.ok(asked() <= 4, `${asked()} fetches`);
    server.close();
  });

  test('a key that is withdrawn takes its tokens along', async () => {
    const issuer = new TestIssuer(ISSUER);
    const { address, server } = await publish(issuer);
    const open = takes(issuer, { jwks: address, times: { cooldownMs: 50, refreshMs: 50 } });
    const token = await issuer.token({});
    const caller = await present(open, token);
    const kept = makeTestKey('two');
    issuer.keys = [kept];
    await until(() => caller.death(Date.now()) === 'revoked');
    assert.throws(() => present(open, token), { reason: 'CREDENTIAL_REVOKED' });
    assert.equal(await judged(open, await issuer.token({})), 'OK');
    server.close();
  });

  test('an issuer that is away is said once, and its keys are kept for a time', async () => {
    const issuer = new TestIssuer(ISSUER);
    const { address, server, away, asked } = await publish(issuer);
    const { log, lines } = recordingLog();
    const times = { cooldownMs: 50, refreshMs: 50, keptMs: 1_500 };
    const open = takes(issuer, { jwks: address, log, times });
    assert.equal(await judged(open, await issuer.token({})), 'OK');
    away(true);
    const before = asked();
    await until(() => asked() > before + 2);
    const seen = await issuer.token({ jti: 'seen' });
    assert.equal(await judged(open, seen), 'OK');
    await untilJudged(open, () => issuer.token({ jti: '2' }), 'ISSUER_UNAVAILABLE');
    // What was verified before works until it ends.
    assert.equal(await judged(open, seen), 'OK');
    const said = lines.filter(({ msg }) =>
      /keys can’t be read: it answers with status 503/.test(String(msg)),
    );
    assert.ok(said.length === 1, JSON.stringify(said));
    away(false);
    await untilJudged(open, () => issuer.token({ jti: '3' }), 'OK');
    assert.ok(lines.some(({ msg }) => /are back/.test(String(msg))));
    server.close();
  });

  test('nobody waits for an issuer that does not answer longer than its deadline', async () => {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuer = new TestIssuer(ISSUER);
    const open = takes(issuer, { jwks: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
    const token = await issuer.token({});
    await assert.rejects(async () => present(open, token, () => performance.now() + 50), {
      reason: 'DEADLINE_EXCEEDED',
    });
    // So many tokens at a time, and so many who wait; all others hear at once that they have to come again.
    const settle = Promise.allSettled.bind(Promise);
    const waits = [];
    for (let index = 0; index < MAX_VERIFYING + 5; index++) {
      waits.push(settle([judged(open, await issuer.token({ jti: String(index) }))]));
    }
    const [outcome] = await waits.at(-1)!;
    assert.equal((outcome as PromiseFulfilledResult<string>).value, 'OVERLOADED');
    for (let index = 0; index < MAX_WAITING; index++) waits.push(settle([judged(open, token)]));
    const [last] = await waits.at(-1)!;
    assert.equal((last as PromiseFulfilledResult<string>).value, 'OVERLOADED');
    server.closeAllConnections();
    server.close();
    await Promise.all(waits);
  });

  test('a file is read again when it changes', async () => {
    const issuer = new TestIssuer(ISSUER);
    const path = join(folder, 'changing.json');
    writeFileSync(path, issuer.jwks());
    const open = takes(issuer, { jwks: path });
    assert.equal(await judged(open, await issuer.token({})), 'OK');
    issuer.keys = [makeTestKey('two')];
    writeFileSync(`${path}.new`, issuer.jwks());
    renameSync(`${path}.new`, path);
    await untilJudged(open, () => issuer.token({}), 'OK');
  });
});

describe('settings', () => {
  const issuer = new TestIssuer(ISSUER);
  const jwks = join(folder, 'settings.json');
  writeFileSync(jwks, issuer.jwks());
  const secret = join(folder, 'secret.json');
  writeFileSync(secret, JSON.stringify({ keys: [{ kty: 'oct', k: 'c2VjcmV0' }] }));
  const base = { jwtIssuer: ISSUER, jwtAudience: 'scalingnote', jwtJwks: jwks };
  const cases: [settings: object, message: RegExp][] = [
    [{ ...base, jwtAlgorithms: 'RS256,none' }, /"none" is no signature/],
    [{ ...base, jwtAlgorithms: 'HS256' }, /"HS256" takes a secret/],
    [{ ...base, jwtAlgorithms: 'RS255' }, /"RS255" is not known; name some of RS256/],
    [{ ...base, jwtAlgorithms: '' }, /is not known|is empty/],
    [{ ...base, jwtAudience: [] }, /needs --jwt-audience/],
    [{ ...base, jwtJwks: [] }, /names 1 issuers and --jwt-jwks 0/],
    [{ ...base, jwtJwks: 'http://issuer.example/jwks' }, /plain text.*use https/],
    [{ ...base, jwtJwks: 'https://user:pw@issuer.example/jwks' }, /can’t be used/],
    [{ ...base, jwtJwks: join(folder, 'none.json') }, /--jwt-jwks: ENOENT/],
    [{ ...base, jwtJwks: secret }, /has a secret key/],
    [{ ...base, jwtCa: jwks }, /is for an https address/],
    [
      { ...base, jwtJwks: 'https://issuer.example/jwks', jwtClientCert: jwks },
      /--jwt-client-cert: needs --jwt-client-key/,
    ],
    [{ ...base, jwtJwks: 'https://issuer.example/jwks', jwtCa: join(folder, 'no.pem') }, /--jwt-ca.*ENOENT/],
    [{ jwtAudience: 'scalingnote' }, /--jwt-audience needs --jwt-issuer/],
    [{ jwtCa: jwks }, /--jwt-ca needs --jwt-issuer/],
    [{ ...base, anonymous: true }, /--anonymous does not go with --jwt-issuer/],
    [{ ...base, jwtIssuer: [ISSUER, ISSUER], jwtJwks: [jwks, jwks] }, /twice/],
  ];
  for (const [settings, message] of cases) {
    test(String(message), () => {
      assert.throws(() => openAccess(Settings.parse(settings), silent), message);
    });
  }
});
