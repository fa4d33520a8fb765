import type { Logger } from 'pino';
import type { OutgoingTls } from '../../../../calls/outgoing-tls.ts';
import { isLoopback } from '../../listen-address.ts';
import { ConfigError } from '../../setting-types.ts';
import { outgoingTls } from '../../tls/outgoing.ts';
import type { AccessConfig } from '../access-settings.ts';
import { IssuerKeys, isAddress, type KeyTimes } from './issuer-keys.ts';
import { Tokens } from './tokens.ts';

/**
 * Algorithms that a public key verifies (RFC 7518, RFC 8037). With a secret one, whoever can check tokens could make
 * them; "none" is no signature.
 */
const ALGORITHMS = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');

/** Settings that say nothing without `jwtIssuer`. */
const NEED_ISSUER = ['jwtJwks', 'jwtAudience', 'jwtCa', 'jwtClientCert', 'jwtClientKey'] as const;

/** Tokens of the issuers in the settings. */
export interface OpenTokens {
  tokens: Tokens;
  issuers: readonly { name: string; keys: IssuerKeys }[];
  close(): void;
}

/**
 * Takes tokens as the settings have it.
 *
 * @returns `undefined` where they name no issuer
 * @throws {ConfigError} where settings do not fit together
 */
export function openTokens(config: AccessConfig, log: Logger, times?: KeyTimes): OpenTokens | undefined {
  const { jwtIssuer: names, jwtJwks: sources, jwtAudience: audiences, jwtAlgorithms: algorithms } = config;
  if (names.length === 0) {
    const idle = NEED_ISSUER.find((name) => (config[name]?.length ?? 0) > 0);
    if (idle !== undefined) throw new ConfigError(`${flagOf(idle)} needs --jwt-issuer`);
    return undefined;
  }
  if (sources.length !== names.length) {
    throw new ConfigError(
      `--jwt-issuer names ${names.length} issuers and --jwt-jwks ${sources.length} sets of keys; name one for each`,
    );
  }
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) throw new ConfigError(`--jwt-issuer names ${repeated} twice`);
  if (audiences.length === 0) {
    throw new ConfigError(
      '--jwt-issuer needs --jwt-audience: without it, a token that somebody got for another service would do here',
    );
  }
  checkAlgorithms(algorithms);
  for (const source of sources) checkSource(source);
  const tls = tlsOf(config, sources);
  const issuers: { name: string; keys: IssuerKeys }[] = [];
  const close = (): void => {
    for (const { keys } of issuers) keys.close();
  };
  const { jwtScopesClaim, jwtTenantsClaim, jwtCollectionsClaim, jwtSkewS } = config;
  const claims = { scopes: jwtScopesClaim, tenants: jwtTenantsClaim, collections: jwtCollectionsClaim };
  const tokens = new Tokens(issuers, { audiences, algorithms, skewS: jwtSkewS, claims }, log);
  try {
    for (const [index, name] of names.entries()) {
      issuers.push({ name, keys: new IssuerKeys(sources[index]!, tls, log, tokens.forgetBad, times) });
    }
  } catch (error) {
    close();
    throw error instanceof ConfigError
      ? error
      : new ConfigError(`--jwt-jwks: ${(error as Error).message}`, { cause: error });
  }
  return { tokens, issuers, close };
}

function checkAlgorithms(algorithms: readonly string[]): void {
  if (algorithms.length === 0) throw new ConfigError('--jwt-algorithms is empty; name one at least');
  for (const algorithm of algorithms) {
    if (ALGORITHMS.includes(algorithm)) continue;
    const why = /^none$/i.test(algorithm)
      ? 'is no signature: everybody could make tokens'
      : /^HS\d+$/i.test(algorithm)
        ? 'takes a secret that this service would have to know, and so could make tokens with'
        : 'is not known';
    throw new ConfigError(
      `--jwt-algorithms: ${JSON.stringify(algorithm)} ${why}; name some of ${ALGORITHMS.join(', ')}`,
    );
  }
}

function checkSource(source: string): void {
  if (!isAddress(source)) return;
  const url = URL.canParse(source) ? new URL(source) : undefined;
  if (!url || url.username !== '' || url.password !== '') {
    throw new ConfigError('--jwt-jwks: has an address that can’t be used; give https://HOST/PATH, or a file');
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname.replace(/^\[|\]$/g, ''))) {
    throw new ConfigError(
      `--jwt-jwks: ${url.origin} is plain text, and whoever is on the way could put keys of their own in; use https`,
    );
  }
}

function tlsOf(config: AccessConfig, sources: readonly string[]): OutgoingTls {
  const files = { ca: config.jwtCa, cert: config.jwtClientCert, key: config.jwtClientKey };
  const isUsed = sources.some((source) => /^https:/i.test(source));
  const idle = (['jwtCa', 'jwtClientCert', 'jwtClientKey'] as const).find(
    (name) => config[name] !== undefined,
  );
  if (idle !== undefined && !isUsed) {
    throw new ConfigError(`${flagOf(idle)} is for an https address in --jwt-jwks, and there is none`);
  }
  return outgoingTls(files, { ca: '--jwt-ca', cert: '--jwt-client-cert', key: '--jwt-client-key' });
}

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
