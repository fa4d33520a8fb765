import { readFileSync } from 'node:fs';
import { join, parse } from 'node:path';
import { type Command, Option } from 'commander';
import { CliError } from '../output/print.ts';

/** Who may call what `up` starts, and how. */
export interface GuardFlags {
  keys?: string;
  jwtIssuer?: string;
  jwtJwks?: string;
  jwtAudience?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsClientCa?: string;
  login?: boolean;
  oidcIssuer?: string;
  oidcClientId?: string;
  oidcClientSecretFile?: string;
  apiKeyFile?: string;
  /** Of the services' file of settings. */
  auditLog?: string;
}

/** Of the services, each as the services call it. */
const SERVICE_OPTIONS = [
  ['keys', 'file', 'file of keys; with it, every call needs a credential'],
  ['jwt-issuer', 'issuer', 'issuer of tokens that may call'],
  ['jwt-jwks', 'address', 'where the public keys of that issuer are'],
  ['jwt-audience', 'name', 'name of the services in its tokens'],
] as const;

/** Of the services and the console. */
const TLS_OPTIONS = [
  ['tls-cert', 'file', 'certificate of the services and the console'],
  ['tls-key', 'file', 'private key of that certificate'],
  ['tls-client-ca', 'file', 'CAs of clients, which then have to have a certificate'],
] as const;

/** Of the console. */
const CONSOLE_OPTIONS = [
  ['oidc-issuer', 'issuer', 'issuer at which people log in to the console'],
  ['oidc-client-id', 'name', 'name of the console at that issuer'],
  ['oidc-client-secret-file', 'file', 'secret of the console at that issuer'],
] as const;

type OptionName = (typeof SERVICE_OPTIONS | typeof TLS_OPTIONS | typeof CONSOLE_OPTIONS)[number][0];

/** Adds these flags. What else the services and the console know about access comes to them by the environment. */
export function withGuardFlags(command: Command): Command {
  for (const [name, value, description] of [...SERVICE_OPTIONS, ...TLS_OPTIONS, ...CONSOLE_OPTIONS]) {
    const variable = `SCALINGNOTE_${name.toUpperCase().replaceAll('-', '_')}`;
    command.addOption(new Option(`--${name} <${value}>`, description).env(variable));
  }
  return command
    .option('--login', 'the console asks for a key or a token (env: SCALINGNOTE_CONSOLE_LOGIN)')
    .addOption(
      new Option(
        '--api-key-file <path>',
        'file with the key for what this command does (env: SCALINGNOTE_API_KEY_FILE, SCALINGNOTE_API_KEY)',
      ),
    );
}

/** What is in force: these flags, and what the services' file of settings says besides. */
export function inForce(flags: GuardFlags, env: NodeJS.ProcessEnv): GuardFlags {
  const path = env['SCALINGNOTE_CONFIG'] ?? '';
  if (path === '') return flags;
  try {
    const settings = JSON.parse(readFileSync(path, 'utf8')) as Readonly<Record<string, unknown>>;
    const { consoleLogin: login, ...named } = settings;
    return { ...(named as GuardFlags), ...(login === true && { login }), ...flags };
  } catch {
    // The services say why the file can't be used.
    return flags;
  }
}

/** Flags for the services. */
export function serviceFlags(flags: GuardFlags, env: NodeJS.ProcessEnv): string[] {
  const console = [
    ...given('--console-ca', env['SCALINGNOTE_CONSOLE_CA'] ?? env['SCALINGNOTE_CA']),
    ...given(
      '--console-client-cert',
      env['SCALINGNOTE_CONSOLE_CLIENT_CERT'] ?? env['SCALINGNOTE_CLIENT_CERT'],
    ),
    ...given('--console-client-key', env['SCALINGNOTE_CONSOLE_CLIENT_KEY'] ?? env['SCALINGNOTE_CLIENT_KEY']),
  ];
  const isTls = inForce(flags, env).tlsCert !== undefined;
  return [...flagsOf(flags, [...SERVICE_OPTIONS, ...TLS_OPTIONS]), ...(isTls ? console : [])];
}

/**
 * The audit log of a service: a file of its own beside the one that is named, `audit.query.log` for `audit.log`. Standard error
 * goes into the log of the service.
 *
 * @returns `undefined` where there is none
 */
export function auditLogOf(
  service: 'document' | 'query',
  flags: GuardFlags,
  env: NodeJS.ProcessEnv,
): string | undefined {
  const path = env['SCALINGNOTE_AUDIT_LOG'] || inForce(flags, env).auditLog;
  if (path === undefined || path === '' || path === '-') return path || undefined;
  const { dir, name, ext } = parse(path);
  return join(dir, `${name}.${service}${ext}`);
}

/** Flags for the console. */
export function consoleFlags(flags: GuardFlags): string[] {
  return [
    ...flagsOf(flags, [...TLS_OPTIONS, ...CONSOLE_OPTIONS]),
    ...(flags.login === true ? ['--login'] : []),
  ];
}

/**
 * This command and the console call the services as well, and need what these ask for.
 *
 * @param flags - see {@link inForce}
 * @throws {CliError} naming what is missing
 */
export function requireOwnWay(flags: GuardFlags, env: NodeJS.ProcessEnv): void {
  const has = (name: string): boolean => (env[`SCALINGNOTE_${name}`] ?? '') !== '';
  const need = (flag: string, what: string): never => {
    throw new CliError(`${flag}: this command and the console call the services as well; ${what}`);
  };
  const { keys, jwtIssuer, tlsCert, tlsClientCa } = flags;
  if (tlsCert !== undefined && !has('CA')) {
    need('--tls-cert', 'name the CA of the certificate in SCALINGNOTE_CA');
  }
  if (tlsCert === undefined && has('CA')) {
    throw new CliError(
      'SCALINGNOTE_CA is for TLS, and the services speak plain text; name --tls-cert and --tls-key, or leave it out',
    );
  }
  if (tlsClientCa !== undefined && !(has('CLIENT_CERT') && has('CLIENT_KEY'))) {
    need('--tls-client-ca', 'name a certificate in SCALINGNOTE_CLIENT_CERT and SCALINGNOTE_CLIENT_KEY');
  }
  const asks = keys !== undefined ? '--keys' : jwtIssuer !== undefined ? '--jwt-issuer' : undefined;
  if (asks !== undefined && !has('API_KEY') && !has('API_KEY_FILE')) {
    need(asks, 'name a key with the scopes ingest and search with --api-key-file, or in SCALINGNOTE_API_KEY');
  }
  if (asks === undefined && (has('API_KEY') || has('API_KEY_FILE'))) {
    throw new CliError(
      'there is a key for the services, and nothing asks for one; name --keys, or leave it out',
    );
  }
}

/**
 * What a person has to know of who may use the console; `undefined` where it asks, or nobody is asked.
 *
 * @param flags - see {@link inForce}
 */
export function consoleWarning(flags: GuardFlags, env: NodeJS.ProcessEnv): string | undefined {
  const logsIn =
    flags.login === true || flags.oidcIssuer !== undefined || env['SCALINGNOTE_CONSOLE_LOGIN'] === 'true';
  if (logsIn || (flags.keys === undefined && flags.jwtIssuer === undefined)) return undefined;
  return 'the console asks nobody on this machine for a key, and uses the one of this command; --login has it ask';
}

function flagsOf(flags: GuardFlags, options: readonly (readonly [OptionName, string, string])[]): string[] {
  return options.flatMap(([name]) => {
    const key = name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase()) as keyof GuardFlags;
    return given(`--${name}`, flags[key] as string | undefined);
  });
}

function given(flag: string, value: string | undefined): string[] {
  return value === undefined || value === '' ? [] : [flag, value];
}
