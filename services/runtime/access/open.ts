import type { Logger } from 'pino';
import { isLoopback } from '../listen-address.ts';
import { ConfigError } from '../setting-types.ts';
import { Access, type Identities } from './access.ts';
import type { AccessConfig } from './access-settings.ts';
import { openAuditLog, type OpenAudit } from './audit-file.ts';
import { credentialUnknown } from './refusals.ts';
import type { IssuerKeys, KeyTimes } from './jwt/issuer-keys.ts';
import { openTokens } from './jwt/open.ts';
import type { Tokens } from './jwt/tokens.ts';
import { KEY_PREFIX } from '../../../keys/key.ts';
import { Keyring } from './keyring.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** Who may do what, as the settings have it. */
export interface OpenAccess {
  access: Access;
  /** Shows how old the keys of issuers are, and what was not written down. */
  measure(metrics: Metrics): void;
  close(): void;
}

/**
 * Reads keys and rules. Without any key or issuer of tokens, everybody may do everything, on loopback; elsewhere only with a flag. The log says
 * so once.
 *
 * @param audit what is written to. @default the file that the settings name
 * @throws {ConfigError} where settings do not fit together
 * @throws {KeyFileError} where the keys can't be read
 */
export function openAccess(
  config: AccessConfig & { host: string; metricsHost: string; defaultCollection?: string | undefined },
  log: Logger,
  times?: KeyTimes,
  audit: OpenAudit | undefined = openAuditLog(config, log),
): OpenAccess {
  const { anonymous } = config;
  // The address that is seen from farthest away.
  const host = isLoopback(config.host) ? config.metricsHost : config.host;
  const keyring = config.keys === undefined ? undefined : new Keyring(config.keys, log);
  const tokens = openTokens(config, log, times);
  const asks = keyring !== undefined || tokens !== undefined;
  if (!asks && !isLoopback(host) && !anonymous) {
    throw new ConfigError(
      `${host} is no loopback address, and nobody would be asked for a credential; make keys with "scalingnote ` +
        'keys create" and name their file with --keys, or allow it with --anonymous',
    );
  }
  if (asks && anonymous) {
    throw new ConfigError(
      `--anonymous does not go with ${keyring ? '--keys' : '--jwt-issuer'}; drop one of them`,
    );
  }
  if (asks) {
    log.info(
      { keys: keyring?.size ?? 0, issuers: config.jwtIssuer },
      'every call needs a credential; health is open',
    );
  } else if (isLoopback(host)) log.info('no keys: every caller on this machine may do everything');
  else log.warn({ host }, '--anonymous: every caller that reaches this address may do everything');
  return {
    access: new Access(
      asks ? identitiesOf(keyring, tokens?.tokens) : undefined,
      audit?.log,
      log,
      config.defaultCollection,
    ),
    measure: (metrics) => {
      for (const { name, keys } of tokens?.issuers ?? []) measureIssuer(name, keys, metrics);
      if (audit) {
        metrics.observeTotal(
          'scalingnote.audit.lost',
          '{line}',
          'Lines of the audit log that could not be written',
          () => audit.lost,
        );
      }
    },
    close: () => {
      keyring?.close();
      tokens?.close();
      audit?.close();
    },
  };
}

function identitiesOf(keyring: Keyring | undefined, tokens: Tokens | undefined): Identities {
  return {
    credential: (credential, deadline) => {
      if (tokens && !(keyring && credential.startsWith(KEY_PREFIX))) {
        return tokens.callerOf(credential, deadline());
      }
      if (!keyring) throw credentialUnknown('the key');
      return keyring.callerOf(credential);
    },
    certificate: (subject) => keyring?.certificate(subject),
  };
}

function measureIssuer(name: string, keys: IssuerKeys, metrics: Metrics): void {
  const attributes = { 'scalingnote.issuer': name };
  metrics.observe(
    'scalingnote.issuer.keys.age',
    's',
    'Time since the keys of an issuer of tokens were read',
    () => keys.ageSeconds,
    attributes,
  );
  metrics.observeTotal(
    'scalingnote.issuer.keys.failures',
    '{attempt}',
    'Attempts to read the keys of an issuer that failed',
    () => keys.failures,
    attributes,
  );
}
