import { OutgoingTls, type TlsFiles } from '../../calls/outgoing-tls.ts';
import { fileSecret } from '../../calls/secret.ts';
import { TowerError } from '../errors.ts';
import type { RemoteIdentity } from './transport.ts';

/** Where a key is looked for where the tower names no other place. */
export const DEFAULT_KEY_ENV = 'SCALINGNOTE_REMOTE_KEY';
/** Where files of TLS are looked for where nobody names others. */
const TLS_ENV = {
  ca: 'SCALINGNOTE_REMOTE_CA',
  cert: 'SCALINGNOTE_REMOTE_CLIENT_CERT',
  key: 'SCALINGNOTE_REMOTE_CLIENT_KEY',
} as const;

/**
 * Who we are to the server of a tower, and whom we trust there: from options, or else the environment.
 *
 * @param name of the variable with the key; where it is given, there must be a key
 * @param files of TLS. @default those that the environment names
 * @throws {TowerError} `ENDPOINT_REFUSED`
 */
export function remoteIdentity(
  name: string | undefined,
  files: TlsFiles = {},
  env: NodeJS.ProcessEnv = process.env,
): RemoteIdentity {
  const of = (part: keyof TlsFiles): string | undefined => (files[part] ?? env[TLS_ENV[part]]) || undefined;
  try {
    const tls = new OutgoingTls({ ca: of('ca'), cert: of('cert'), key: of('key') }, TLS_ENV);
    return { key: readKey(name, env), tls };
  } catch (error) {
    if (error instanceof TowerError) throw error;
    throw new TowerError('ENDPOINT_REFUSED', (error as Error).message, { cause: error });
  }
}

/**
 * The key of an endpoint, from `NAME_FILE` (a path) or `NAME` in the environment. It is nowhere but in the header of
 * requests. A file is read again when it changes.
 *
 * @throws {TowerError} `ENDPOINT_REFUSED`
 */
function readKey(name: string | undefined, env: NodeJS.ProcessEnv): (() => string) | undefined {
  const variable = name ?? DEFAULT_KEY_ENV;
  const file = env[`${variable}_FILE`];
  const key = env[variable]?.trim() ?? '';
  const check = (secret: string): void => {
    if (!/^[!-~]+$/.test(secret)) {
      throw new TowerError(
        'ENDPOINT_REFUSED',
        `${variable} holds characters that no key has; give the key alone`,
      );
    }
  };
  if (file) {
    try {
      return fileSecret(file, check);
    } catch (error) {
      if (error instanceof TowerError) throw error;
      throw new TowerError('ENDPOINT_REFUSED', `${variable}_FILE names ${file}, which can't be read`, {
        cause: error,
      });
    }
  }
  if (key !== '') {
    check(key);
    return () => key;
  }
  if (name === undefined) return undefined;
  throw new TowerError(
    'ENDPOINT_REFUSED',
    `the tower needs a key, and neither ${name} nor ${name}_FILE is set in the environment`,
  );
}
