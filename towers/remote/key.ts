import { readFileSync } from 'node:fs';
import { TowerError } from '../errors.ts';

/** Where a key is looked for where the tower names no other place. */
export const DEFAULT_KEY_ENV = 'SCALINGNOTE_REMOTE_KEY';

/**
 * The key of an endpoint, from `NAME_FILE` (a path) or `NAME` in the environment. It is read when a tower is opened,
 * and is nowhere but in the request's header.
 *
 * @param name of the variable; where it is given, there must be a key
 * @throws {TowerError} `ENDPOINT_REFUSED`
 */
export function readKey(name: string | undefined, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const variable = name ?? DEFAULT_KEY_ENV;
  const file = env[`${variable}_FILE`];
  const key = file ? readFile(file, `${variable}_FILE`) : env[variable];
  if (name !== undefined && !key?.trim()) {
    throw new TowerError(
      'ENDPOINT_REFUSED',
      `the tower needs a key, and neither ${name} nor ${name}_FILE is set in the environment`,
    );
  }
  const trimmed = key?.trim();
  if (trimmed && /[^\x21-\x7e]/.test(trimmed)) {
    throw new TowerError(
      'ENDPOINT_REFUSED',
      `${variable} holds characters that no key has; give the key alone`,
    );
  }
  return trimmed === '' ? undefined : trimmed;
}

function readFile(path: string, variable: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new TowerError('ENDPOINT_REFUSED', `${variable} names ${path}, which can't be read`, {
      cause: error,
    });
  }
}
