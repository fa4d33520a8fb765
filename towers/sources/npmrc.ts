import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The registry that npm is set to without any configuration. */
export const PUBLIC_REGISTRY = 'https://registry.npmjs.org/';

/** Where a package is to be asked for. */
export interface Registry {
  /** Ends in `/`. */
  url: string;
  /** Headers for addresses of that registry. */
  headers: Readonly<Record<string, string>>;
}

/**
 * The registry of a package as npm would choose it: `npm_config_registry` in the environment, then `.npmrc` of the
 * working directory, then that of the user; a scope's own registry goes first, and tokens are sent to theirs alone.
 */
export async function registryOf(
  packageName: string,
  { env = process.env, cwd = process.cwd() }: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<Registry> {
  const userConfig = env['npm_config_userconfig'] ?? join(homedir(), '.npmrc');
  const settings = {
    ...(await readSettings(userConfig, env)),
    ...(await readSettings(join(cwd, '.npmrc'), env)),
  };
  const scope = packageName.startsWith('@') ? packageName.split('/', 1)[0]! : undefined;
  const url =
    (scope === undefined ? undefined : settings[`${scope}:registry`]) ??
    env['npm_config_registry'] ??
    env['NPM_CONFIG_REGISTRY'] ??
    settings['registry'] ??
    PUBLIC_REGISTRY;
  const registry = url.endsWith('/') ? url : `${url}/`;
  const token = settings[`${registry.replace(/^https?:/, '')}:_authToken`];
  return { url: registry, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } };
}

/** `name=value` lines; `${NAME}` stands for the environment's. */
async function readSettings(path: string, env: NodeJS.ProcessEnv): Promise<Record<string, string>> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const settings: Record<string, string> = {};
  for (const line of text.split(/\r?\n/)) {
    const [, name, value] = /^\s*([^;#=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    settings[name] = value
      .replaceAll(/^"(.*)"$/g, '$1')
      .replaceAll(/\$\{(\w+)\}/g, (reference, variable: string) => env[variable] ?? reference);
  }
  return settings;
}
