import { randomBytes } from 'node:crypto';
import type { Context } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { EncryptJWT, jwtDecrypt } from 'jose';
import * as client from 'openid-client';
import type { Logger } from 'pino';
import { Agent, buildConnector, fetch } from 'undici';
import * as z from 'zod';
import { type OutgoingTls, reloadingConnector } from '../../../calls/outgoing-tls.ts';
import { fileSecret } from '../../../calls/secret.ts';
import { OIDC_SETTINGS, type OidcConfig } from '../../runtime/access/oidc-settings.ts';
import { isLoopback } from '../../runtime/listen-address.ts';
import { ConfigError } from '../../runtime/setting-types.ts';
import { outgoingTls } from '../../runtime/tls/outgoing.ts';
import { HttpError } from '../http/errors.ts';
import { type Issued, type Renewal, Tokens } from './tokens.ts';

/** Where the issuer sends people back to. */
export const CALLBACK = '/login/callback';
/** A person may take so long to log in. */
const LOGIN_S = 10 * 60;
/** The issuer says what it is again after so long, so that it can move its endpoints. */
const KNOWN_MS = 3600_000;
/** Longest wait for one answer of the issuer. */
const TIMEOUT_S = 5;
/** Largest answer of the issuer that is read; a set of a hundred keys with their certificates is half of it. */
const MAX_ANSWER_BYTES = 512 * 1024;
/** `error` of RFC 6749, which comes from whoever made the address. */
const ERROR_NAME = /^[\w.-]{1,64}$/;

/** What a login needs when the person comes back. Only this process can make or read it. */
const Begun = z.strictObject({
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  redirect: z.string(),
  exp: z.number(),
});

/**
 * Logs people in at an issuer: OpenID Connect Core 1.0, by the authorization code with PKCE (RFC 7636), state and nonce.
 * What a login has begun with is in a cookie that only this process can read, so that beginning many fills no memory.
 */
export class Issuer implements Renewal {
  readonly name: string;
  readonly #config: OidcConfig;
  readonly #clientId: string;
  readonly #secret: (() => string) | undefined;
  readonly #isTls: boolean;
  readonly #log: Logger;
  readonly #agent: Agent;
  readonly #cookieKey = randomBytes(32);
  #known: { configuration: client.Configuration; at: number } | undefined;
  #asking: Promise<client.Configuration> | undefined;

  /**
   * @param isTls - whether people reach the console over TLS
   * @throws {ConfigError} where settings don't fit together
   */
  constructor(config: OidcConfig & { oidcIssuer: string }, isTls: boolean, log: Logger) {
    this.#clientId = checked(config);
    this.name = config.oidcIssuer;
    this.#config = config;
    this.#isTls = isTls || (config.oidcRedirect?.startsWith('https:') ?? false);
    this.#log = log;
    this.#secret = secretOf(config);
    this.#agent = new Agent({
      maxResponseSize: MAX_ANSWER_BYTES,
      connect: reloadingConnector(buildConnector, tlsOf(config), { timeout: TIMEOUT_S * 1000 }),
    });
  }

  /** Whether people come by TLS, as far as the settings say. */
  get isTls(): boolean {
    return this.#isTls;
  }

  /** Begins a login. @returns the address at the issuer to which the person has to go @throws {HttpError} */
  async begin(context: Context): Promise<string> {
    const configuration = await this.#configuration();
    const verifier = client.randomPKCECodeVerifier();
    const [state, nonce] = [client.randomState(), client.randomNonce()];
    const own = `${this.#isTls ? 'https' : 'http'}://${context.req.header('host')}${CALLBACK}`;
    const redirect = this.#config.oidcRedirect ?? own;
    const sealed = await new EncryptJWT({ state, nonce, verifier, redirect })
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
      .setExpirationTime(`${LOGIN_S}s`)
      .encrypt(this.#cookieKey);
    setCookie(context, this.#cookie, sealed, {
      path: '/',
      httpOnly: true,
      // The person comes back from the issuer's site, and the cookie has to come along.
      sameSite: 'Lax',
      secure: this.#isTls,
      maxAge: LOGIN_S,
    });
    const address = client.buildAuthorizationUrl(configuration, {
      redirect_uri: redirect,
      scope: this.#config.oidcScopes.join(' '),
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
      nonce,
    });
    return address.href;
  }

  /**
   * Ends a login with what the issuer has sent back: checks it, and gets the token for the services with its code.
   *
   * @throws {HttpError} where what came is not the answer to what this browser began, or can't be trusted
   */
  async finish(context: Context): Promise<Tokens> {
    const { state, nonce, verifier, redirect } = await this.#begun(context);
    deleteCookie(context, this.#cookie, { path: '/', secure: this.#isTls });
    const configuration = await this.#configuration();
    const answer = new URL(redirect);
    answer.search = new URL(context.req.url).search;
    try {
      const tokens = await client.authorizationCodeGrant(configuration, answer, {
        pkceCodeVerifier: verifier,
        expectedState: state,
        expectedNonce: nonce,
        idTokenExpected: true,
      });
      return new Tokens(this.#issued(tokens), this);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Gets the next tokens of a login (RFC 6749, section 6). @throws {HttpError} */
  async renew(refreshToken: string): Promise<Issued> {
    const configuration = await this.#configuration();
    try {
      return this.#issued(await client.refreshTokenGrant(configuration, refreshToken));
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Has the issuer forget a login (RFC 7009), where it can. */
  async revoke(refreshToken: string): Promise<void> {
    const configuration = this.#known?.configuration;
    if (configuration?.serverMetadata().revocation_endpoint === undefined) return;
    try {
      await client.tokenRevocation(configuration, refreshToken, { token_type_hint: 'refresh_token' });
    } catch (error) {
      const { message } = error as Error;
      this.#log.warn({ issuer: this.name }, `a refresh token could not be revoked: ${message}`);
    }
  }

  /** @throws {HttpError} where the token for the services is not there */
  #issued(tokens: client.TokenEndpointResponse & client.TokenEndpointResponseHelpers): Issued {
    const kind = this.#config.oidcToken;
    const token = tokens[kind];
    if (token === undefined) throw new HttpError(401, 'LOGIN_REFUSED', `the issuer sent no ${kind}`);
    const claims = tokens.claims();
    const seconds = kind === 'id_token' ? claims && claims.exp - Date.now() / 1000 : tokens.expiresIn();
    return {
      token,
      subject: claims?.sub,
      lastsMs: seconds === undefined ? undefined : seconds * 1000,
      refreshToken: tokens.refresh_token,
    };
  }

  /** Where a person ends the session at the issuer as well; `undefined` where it has no such place, or has not said. */
  get logoutUrl(): string | undefined {
    const configuration = this.#known?.configuration;
    if (configuration?.serverMetadata().end_session_endpoint === undefined) return undefined;
    return client.buildEndSessionUrl(configuration).href;
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** With TLS, a name that no other host of the domain can set a cookie by. */
  get #cookie(): string {
    return this.#isTls ? '__Host-scalingnote-login' : 'scalingnote-login';
  }

  async #begun(context: Context): Promise<z.infer<typeof Begun>> {
    const sealed = getCookie(context, this.#cookie);
    try {
      if (sealed === undefined) throw new Error('there is no cookie');
      const { payload } = await jwtDecrypt(sealed, this.#cookieKey, {
        keyManagementAlgorithms: ['dir'],
        contentEncryptionAlgorithms: ['A256GCM'],
        requiredClaims: ['exp'],
      });
      return Begun.parse(payload);
    } catch (cause) {
      throw new HttpError(
        401,
        'LOGIN_REFUSED',
        'this browser did not begin this login, or took too long; log in again',
        { cause },
      );
    }
  }

  /** What the issuer says of itself, not older than {@link KNOWN_MS} where it answers. @throws {HttpError} */
  async #configuration(): Promise<client.Configuration> {
    const known = this.#known;
    if (known && performance.now() - known.at < KNOWN_MS) return known.configuration;
    try {
      this.#asking ??= this.#discover().finally(() => (this.#asking = undefined));
      return await this.#asking;
    } catch (error) {
      if (known) return known.configuration;
      throw this.#failure(error);
    }
  }

  async #discover(): Promise<client.Configuration> {
    const address = new URL(this.name);
    const options: client.DiscoveryRequestOptions = {
      timeout: TIMEOUT_S,
      [client.customFetch]: this.#fetch,
      // Plain text to this machine alone: see `checked`.
      execute: address.protocol === 'http:' ? [client.allowInsecureRequests] : [],
    };
    const secret = this.#secret;
    const authentication = secret ? authenticationBy(secret) : client.None();
    const found = await client.discovery(address, this.#clientId, undefined, authentication, options);
    // The signature of an identity token counts, and not only the connection by which it came.
    client.enableNonRepudiationChecks(found);
    this.#known = { configuration: found, at: performance.now() };
    return found;
  }

  readonly #fetch: client.CustomFetch = (url, options) =>
    // The library follows no redirect, and its options are those of the standard.
    fetch(url, { ...options, dispatcher: this.#agent } as Parameters<typeof fetch>[1]);

  /** An error for the person. What it says is ours, but for names of errors; the log says more. */
  #failure(error: unknown): HttpError {
    if (error instanceof HttpError) return error;
    const { message, code } = error as Error & { code?: string };
    this.#log.warn({ issuer: this.name, code }, `a login at the issuer failed: ${message}`);
    if (error instanceof client.AuthorizationResponseError || error instanceof client.ResponseBodyError) {
      const name = ERROR_NAME.test(error.error) ? error.error : 'an error without a name';
      return new HttpError(401, 'LOGIN_REFUSED', `the issuer refuses the login: ${name}`, { cause: error });
    }
    const isAway =
      !(error instanceof client.ClientError) ||
      code === 'OAUTH_TIMEOUT' ||
      code === 'OAUTH_ABORT' ||
      code === 'OAUTH_RESPONSE_IS_NOT_CONFORM';
    return isAway
      ? new HttpError(503, 'ISSUER_UNAVAILABLE', `${this.name} does not answer as it should; try again`, {
          cause: error,
        })
      : new HttpError(401, 'LOGIN_REFUSED', `what came from the issuer can’t be trusted: ${message}`, {
          cause: error,
        });
  }
}

/** How the console says to the issuer who it is: as that likes it, of the two ways that send the secret. */
function authenticationBy(secret: () => string): client.ClientAuth {
  return (server, ...rest) => {
    // One that does not say takes this (OpenID Connect Discovery 1.0, section 3).
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
    const way = methods.includes('client_secret_basic') ? client.ClientSecretBasic : client.ClientSecretPost;
    return way(secret())(server, ...rest);
  };
}

/** The issuer of the settings, where they name one. @throws {ConfigError} where they don't fit together */
export function openIssuer(config: OidcConfig, isTls: boolean, log: Logger): Issuer | undefined {
  const { oidcIssuer } = config;
  if (oidcIssuer !== undefined) return new Issuer({ ...config, oidcIssuer }, isTls, log);
  const idle = OIDC_SETTINGS.find((name) => {
    const value = config[name];
    return value !== undefined && value !== 'access_token' && String(value) !== 'openid';
  });
  if (idle !== undefined) throw new ConfigError(`${flagOf(idle)} needs --oidc-issuer`);
  return undefined;
}

/** @returns the name of the console @throws {ConfigError} */
function checked({
  oidcIssuer = '',
  oidcClientId,
  oidcClientSecret,
  oidcClientSecretFile,
  oidcScopes,
  oidcRedirect,
}: OidcConfig): string {
  const issuer = addressOf(oidcIssuer);
  if (!issuer) {
    throw new ConfigError('--oidc-issuer must be https://HOST/PATH, or http:// on a loopback address');
  }
  if (oidcClientId === undefined) throw new ConfigError('--oidc-issuer needs --oidc-client-id');
  if (oidcClientSecret !== undefined && oidcClientSecretFile !== undefined) {
    throw new ConfigError(
      'SCALINGNOTE_OIDC_CLIENT_SECRET does not go with --oidc-client-secret-file; drop one of them',
    );
  }
  if (!oidcScopes.includes('openid')) {
    throw new ConfigError('--oidc-scopes lacks openid, without which the issuer says nothing of the person');
  }
  const redirect = oidcRedirect === undefined ? undefined : addressOf(oidcRedirect);
  if (oidcRedirect !== undefined && redirect?.pathname !== CALLBACK) {
    throw new ConfigError(
      `--oidc-redirect must be https://HOST${CALLBACK}, or http:// on a loopback address; a proxy may not change the path`,
    );
  }
  return oidcClientId;
}

/** An address without user, query and fragment, by which nobody on the way can read along. */
function addressOf(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if ([url.username, url.password, url.search, url.hash].join('') !== '') return undefined;
  const isNear = url.protocol === 'http:' && isLoopback(url.hostname.replace(/^\[|\]$/g, ''));
  return url.protocol === 'https:' || isNear ? url : undefined;
}

function secretOf({ oidcClientSecret, oidcClientSecretFile }: OidcConfig): (() => string) | undefined {
  if (oidcClientSecretFile === undefined) {
    return oidcClientSecret === undefined ? undefined : () => oidcClientSecret;
  }
  try {
    return fileSecret(oidcClientSecretFile, (secret) => {
      if (secret === '') throw new Error('it is empty');
    });
  } catch (error) {
    throw new ConfigError(`--oidc-client-secret-file: ${(error as Error).message}`, { cause: error });
  }
}

function tlsOf({ oidcIssuer = '', oidcCa, oidcClientCert, oidcClientKey }: OidcConfig): OutgoingTls {
  const names = { ca: '--oidc-ca', cert: '--oidc-client-cert', key: '--oidc-client-key' };
  const files = { ca: oidcCa, cert: oidcClientCert, key: oidcClientKey };
  const idle = (['ca', 'cert', 'key'] as const).find((part) => files[part] !== undefined);
  if (idle !== undefined && oidcIssuer.startsWith('http:')) {
    throw new ConfigError(`${names[idle]} is for an https address in --oidc-issuer`);
  }
  return outgoingTls(files, names);
}

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
