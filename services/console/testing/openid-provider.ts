import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JWTPayload } from 'jose';
import { makeTestKey, TestIssuer, type TestKey } from '../../runtime/access/testing/test-issuer.ts';

/** Who may log people in at the provider. */
export const CLIENT = { id: 'console', secret: 'a secret with "odd" signs & more' } as const;

/** A code that was given out, and for what. */
interface Code {
  challenge: string;
  nonce: string;
  redirect: string;
  used: boolean;
}

/**
 * A provider of OpenID Connect for tests: discovery, authorization, token, JWKS, as OpenID Connect Core 1.0 has them. Everybody
 * is logged in already, and comes back at once. It checks what it is sent, and lies as a test tells it to.
 */
export class OpenIdProvider {
  /** Makes its tokens; what the services have to trust. */
  readonly issuer: TestIssuer;
  readonly address: string;
  /** Claims of the next access tokens: what a person may do. */
  rights: JWTPayload = { scope: 'openid search encode', tenants: ['*'], collections: ['*'] };
  /** Claims of identity tokens that are others than they should be, and what they are signed with. */
  lie: { claims?: Readonly<Record<string, unknown>>; key?: TestKey } = {};
  /** What it says of itself besides. */
  metadata: object = {};
  /** Whether the token endpoint answers. */
  isAway = false;
  /** Refresh tokens: whether it gives any, for how long it says that tokens are good, in seconds, and whom a renewal is for. */
  refresh: { gives: boolean; lastsS: number; subject?: string } = { gives: false, lastsS: 3600 };
  /** Refresh tokens that came to the token endpoint, and those that came twice, which looks like a theft. */
  readonly renewed: string[] = [];
  readonly reused: string[] = [];
  readonly #good = new Set<string>();
  /** Codes that came to the token endpoint. */
  readonly redeemed: string[] = [];
  readonly #codes = new Map<string, Code>();
  readonly #server: ReturnType<typeof createServer>;

  private constructor(server: ReturnType<typeof createServer>, address: string) {
    this.#server = server;
    this.address = address;
    this.issuer = new TestIssuer(address, [makeTestKey('one', 'RS256')]);
  }

  static async start(): Promise<OpenIdProvider> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const provider = new OpenIdProvider(server, address);
    server.on('request', (request, response) => {
      provider
        .#answer(request, response)
        .catch((error: unknown) => response.writeHead(500).end(String(error)));
    });
    return provider;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', this.address);
    const json = (status: number, body: unknown): void =>
      void response
        .writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
        .end(typeof body === 'string' ? body : JSON.stringify(body));
    switch (`${request.method} ${url.pathname}`) {
      case 'GET /.well-known/openid-configuration':
        return json(200, {
          issuer: this.address,
          authorization_endpoint: `${this.address}/authorize`,
          token_endpoint: `${this.address}/token`,
          jwks_uri: `${this.address}/jwks`,
          revocation_endpoint: `${this.address}/revoke`,
          end_session_endpoint: `${this.address}/logout`,
          response_types_supported: ['code'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: ['RS256'],
          code_challenge_methods_supported: ['S256'],
          authorization_response_iss_parameter_supported: true,
          ...this.metadata,
        });
      case 'GET /jwks':
        return json(200, this.issuer.jwks());
      case 'GET /authorize': {
        const back = this.authorize(url);
        return void response.writeHead(302, { location: back.href }).end();
      }
      case 'GET /logout':
        return void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>logged out</h1>');
      case 'POST /revoke':
        this.#good.delete((await formOf(request)).get('token') ?? '');
        return json(200, {});
      case 'POST /token': {
        if (this.isAway) return json(503, { error: 'temporarily_unavailable' });
        const [status, body] = await this.#tokens(request, await formOf(request));
        return json(status, body);
      }
      default:
        return json(404, { error: 'not_found' });
    }
  }

  /** Where a person comes back to, with a code. @throws {Error} where the console asks wrongly */
  authorize(url: URL): URL {
    const asked = (name: string): string => {
      const values = url.searchParams.getAll(name);
      if (values.length !== 1 || values[0] === '') throw new Error(`${name} is given ${values.length} times`);
      return values[0]!;
    };
    const has = (name: string, value: string): void => {
      if (asked(name) !== value) throw new Error(`${name} is ${asked(name)}`);
    };
    has('response_type', 'code');
    has('client_id', CLIENT.id);
    has('code_challenge_method', 'S256');
    if (!asked('scope').split(' ').includes('openid')) throw new Error('scope lacks openid');
    const code = randomBytes(16).toString('base64url');
    const redirect = asked('redirect_uri');
    this.#codes.set(code, {
      challenge: asked('code_challenge'),
      nonce: asked('nonce'),
      redirect,
      used: false,
    });
    const back = new URL(redirect);
    back.searchParams.set('code', code);
    back.searchParams.set('state', asked('state'));
    back.searchParams.set('iss', this.address);
    return back;
  }

  async #tokens(request: IncomingMessage, form: URLSearchParams): Promise<[status: number, body: object]> {
    // RFC 6749, section 2.3.1: both are encoded as a form encodes them.
    const [id, secret] = [CLIENT.id, CLIENT.secret].map((text) =>
      new URLSearchParams({ '': text }).toString().slice(1),
    );
    const basic = `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
    if (request.headers.authorization !== basic) return [401, { error: 'invalid_client' }];
    if (form.get('grant_type') === 'refresh_token') return this.#renew(form.get('refresh_token') ?? '');
    if (form.get('grant_type') !== 'authorization_code') return [400, { error: 'unsupported_grant_type' }];
    const text = form.get('code') ?? '';
    this.redeemed.push(text);
    const code = this.#codes.get(text);
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    if (!code || code.used || code.redirect !== form.get('redirect_uri') || code.challenge !== challenge) {
      return [400, { error: 'invalid_grant' }];
    }
    code.used = true;
    const { claims, key = this.issuer.keys[0]! } = this.lie;
    const identity = { aud: CLIENT.id, nonce: code.nonce, ...claims };
    return [
      200,
      {
        access_token: await this.issuer.token(this.rights),
        id_token: await this.issuer.token(identity, key, { typ: 'JWT' }),
        token_type: 'Bearer',
        ...this.#next(),
      },
    ];
  }

  /** Refresh tokens that are good. */
  get live(): number {
    return this.#good.size;
  }

  /** Takes all refresh tokens back. */
  revokeAll(): void {
    this.#good.clear();
  }

  #next(): object {
    const { gives, lastsS } = this.refresh;
    if (!gives) return { expires_in: lastsS };
    const text = randomBytes(16).toString('base64url');
    this.#good.add(text);
    return { expires_in: lastsS, refresh_token: text };
  }

  /** Each refresh token is good once (RFC 9700, section 4.14.2). */
  async #renew(text: string): Promise<[status: number, body: object]> {
    if (this.renewed.includes(text)) this.reused.push(text);
    this.renewed.push(text);
    if (!this.#good.delete(text)) return [400, { error: 'invalid_grant' }];
    const { subject } = this.refresh;
    return [
      200,
      {
        access_token: await this.issuer.token(this.rights),
        ...(subject !== undefined && {
          id_token: await this.issuer.token({ aud: CLIENT.id, sub: subject }, this.issuer.keys[0], {
            typ: 'JWT',
          }),
        }),
        token_type: 'Bearer',
        ...this.#next(),
      },
    ];
  }
}

async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}
