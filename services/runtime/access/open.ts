import type { Logger } from 'pino';
import { isLoopback } from '../listen-address.ts';
import { ConfigError } from '../setting-types.ts';
import { Access, type Identities } from './access.ts';
import type { AccessConfig } from './access-settings.ts';
import { openAuditLog } from './audit-file.ts';
import { Keyring } from './keyring.ts';

/** Who may do what, as the settings have it. */
export interface OpenAccess {
  access: Access;
  close(): void;
}

/**
 * Reads keys and rules. Without any, everybody may do everything, on loopback; elsewhere only with a flag. The log says
 * so once.
 *
 * @throws {ConfigError} where settings do not fit together
 * @throws {KeyFileError} where the keys can't be read
 */
export function openAccess(
  config: AccessConfig & { host: string; metricsHost: string },
  log: Logger,
): OpenAccess {
  const { anonymous } = config;
  // The address that is seen from farthest away.
  const host = isLoopback(config.host) ? config.metricsHost : config.host;
  const keyring = config.keys === undefined ? undefined : new Keyring(config.keys, log);
  const audit = openAuditLog(config, log);
  const asks = keyring !== undefined;
  if (!asks && !isLoopback(host) && !anonymous) {
    throw new ConfigError(
      `${host} is no loopback address, and nobody would be asked for a credential; make keys with "scalingnote ` +
        'keys create" and name their file with --keys, or allow it with --anonymous',
    );
  }
  if (asks && anonymous) {
    throw new ConfigError('--anonymous does not go with --keys; drop one of them');
  }
  if (asks) log.info({ keys: keyring.size }, 'every call needs a credential; health is open');
  else if (isLoopback(host)) log.info('no keys: every caller on this machine may do everything');
  else log.warn({ host }, '--anonymous: every caller that reaches this address may do everything');
  const identities: Identities | undefined = asks
    ? {
        key: (credential) => keyring.callerOf(credential),
        certificate: (subject) => keyring.certificate(subject),
      }
    : undefined;
  return {
    access: new Access(identities, audit?.log),
    close: () => {
      keyring?.close();
      audit?.close();
    },
  };
}
