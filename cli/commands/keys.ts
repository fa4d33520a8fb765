import { Command, InvalidArgumentError, Option } from 'commander';
import { hashOf, makeKey } from '../../keys/key.ts';
import {
  changeKeyFile,
  deathOf,
  defaultKeyFile,
  readKeyFile,
  shownKey,
  type StoredKey,
} from '../../keys/key-file.ts';
import { flawOfPattern, MAX_PATTERNS } from '../../keys/patterns.ts';
import { SCOPES, type Scope } from '../../keys/scopes.ts';
import { CliError, note, printResult, style, table } from '../output/print.ts';
import { durationMs } from '../input/duration.ts';

interface FileFlag {
  file: string;
  json?: boolean;
}

/** How long a key works where nobody says otherwise. */
const EXPIRES = '90d';
/** How long the old key works beside the new one: a deployment of everything that holds it fits into it. */
const OVERLAP = '7d';

const create = withFile(new Command('create'))
  .description('make a key, and show it once')
  .requiredOption('--scopes <list>', `what it allows, separated by commas: ${SCOPES.join(', ')}`, scopes)
  .option(
    '--tenants <patterns>',
    'tenants it is for, separated by commas; "*" stands for any characters (default: data without a tenant)',
    patterns,
    [''],
  )
  .option('--collections <patterns>', 'collections it is for, in the same way', patterns, ['*'])
  .addOption(expires().default(EXPIRES))
  .option('--name <text>', 'what people call it', nameOf, '')
  .option(
    '--certificate <name>',
    'give the rights to clients whose certificate has this common name; no key then',
  )
  .action(async (flags: FileFlag & Rights) => {
    const { scopes, tenants, collections, name, certificate } = flags;
    const { id, text } = makeKey();
    const expiresAt = expiryOf(flags.expires);
    const stored: StoredKey = {
      id,
      name,
      ...(certificate === undefined ? { sha256: hashOf(text).toString('hex') } : { certificate }),
      scopes,
      tenants,
      collections,
      createdAt: new Date().toISOString(),
      ...(expiresAt !== undefined && { expiresAt }),
    };
    await changeKeyFile(flags.file, (keys) => [...keys, stored]);
    report(flags, stored, certificate === undefined ? text : undefined);
  });

interface Rights {
  scopes: Scope[];
  tenants: string[];
  collections: string[];
  expires: string;
  name: string;
  certificate?: string;
}

const list = withFile(new Command('list'))
  .description('show all keys; what is secret of them is nowhere')
  .action((flags: FileFlag) => {
    const now = Date.now();
    const keys = readKeyFile(flags.file).map((key) => ({
      ...shownKey(key),
      state: deathOf(key, now) ?? 'valid',
    }));
    printResult(flags, { file: flags.file, keys }, () =>
      table(
        ['id', 'name', 'state', 'scopes', 'tenants', 'collections', 'expires'],
        keys.map(({ id, name, certificate, state, scopes, tenants, collections, expiresAt }) => [
          id,
          certificate === undefined ? name : `${name} (certificate ${certificate})`.trim(),
          state,
          scopes.join(','),
          shownPatterns(tenants),
          shownPatterns(collections),
          expiresAt ?? 'never',
        ]),
      ),
    );
  });

const revoke = withFile(new Command('revoke'))
  .description('end a key; services that run refuse it within a second')
  .argument('<id>', 'id of the key: what "keys list" shows, and what stands between its first two "_"')
  .action(async (id: string, flags: FileFlag) => {
    const revokedAt = new Date().toISOString();
    await changeKeyFile(flags.file, (keys) => {
      const key = found(keys, id);
      if (key.revokedAt !== undefined) throw new CliError(`the key ${id} was revoked at ${key.revokedAt}`);
      return keys.map((each) => (each === key ? { ...each, revokedAt } : each));
    });
    printResult(flags, { id, revokedAt }, () => `the key ${id} is revoked`);
  });

const rotate = withFile(new Command('rotate'))
  .description('make a new key with the rights of an old one, which works a while longer')
  .argument('<id>', 'id of the old key')
  .option('--overlap <time>', 'how long the old key works: 30m, 12h, 7d', durationFlag, OVERLAP)
  .addOption(expires().default(EXPIRES))
  .action(async (id: string, flags: FileFlag & { overlap: string; expires: string }) => {
    const { id: newId, text } = makeKey();
    const now = Date.now();
    const end = new Date(now + durationMs(flags.overlap)).toISOString();
    const expiresAt = expiryOf(flags.expires);
    let stored: StoredKey | undefined;
    await changeKeyFile(flags.file, (keys) => {
      const old = found(keys, id);
      const death = deathOf(old, now);
      if (death !== undefined)
        throw new CliError(`the key ${id} is ${death}; make another with: keys create`);
      if (old.sha256 === undefined) {
        throw new CliError(`${id} is a certificate's; its CA issues a new one, and the rights stay`);
      }
      stored = {
        ...old,
        expiresAt,
        id: newId,
        sha256: hashOf(text).toString('hex'),
        createdAt: new Date(now).toISOString(),
        replaces: id,
      };
      const ends = old.expiresAt !== undefined && old.expiresAt < end ? old.expiresAt : end;
      return [...keys.map((each) => (each === old ? { ...each, expiresAt: ends } : each)), stored];
    });
    report(flags, stored!, text);
    note(`the key ${id} works until ${end}, or until its own end`);
  });

/** `scalingnote keys` */
export const keys = new Command('keys')
  .description('make, list, revoke and rotate the keys that services ask for')
  .addCommand(create)
  .addCommand(list)
  .addCommand(revoke)
  .addCommand(rotate);

/** The one moment at which a key is shown. */
function report(flags: FileFlag, stored: StoredKey, key: string | undefined): void {
  const shown = shownKey(stored);
  printResult(
    flags,
    { file: flags.file, ...shown, ...(key !== undefined && { key }) },
    () => key ?? shown.id,
  );
  note(
    key === undefined
      ? `clients with a certificate "${shown.certificate}" have these rights now`
      : style('bold', `this is the key ${shown.id}; it is stored nowhere, so keep it now`),
  );
  note(`services take the file with: --keys ${flags.file}`);
  if (key !== undefined)
    note('clients take the key from SCALINGNOTE_API_KEY, or from a file with --api-key-file');
}

function found(keys: readonly StoredKey[], id: string): StoredKey {
  const key = keys.find((each) => each.id === id);
  if (!key) throw new CliError(`there is no key ${id.slice(0, 20)}; "keys list" shows what there is`);
  return key;
}

function withFile(command: Command): Command {
  return command.addOption(
    new Option('--file <path>', 'file of the keys').env('SCALINGNOTE_KEYS').default(defaultKeyFile()),
  );
}

function expires(): Option {
  return new Option('--expires <time>', 'how long it works: 30m, 12h, 90d, or never').argParser(
    (value: string) => (value === 'never' ? value : durationFlag(value)),
  );
}

function expiryOf(expires: string): string | undefined {
  return expires === 'never' ? undefined : new Date(Date.now() + durationMs(expires)).toISOString();
}

function durationFlag(value: string): string {
  if (Number.isNaN(durationMs(value))) {
    throw new InvalidArgumentError('It must be a number with a unit of m, h or d: 30m, 12h, 90d.');
  }
  return value;
}

function scopes(value: string): Scope[] {
  return value.split(',').map((each) => {
    const scope = SCOPES.find((known) => known === each.trim());
    if (scope === undefined) throw new InvalidArgumentError(`"${each}" is none of ${SCOPES.join(', ')}.`);
    return scope;
  });
}

function patterns(value: string): string[] {
  const texts = value.split(',').map((each) => each.trim());
  if (texts.length > MAX_PATTERNS) throw new InvalidArgumentError(`${MAX_PATTERNS} patterns are the most.`);
  for (const text of texts) {
    const flaw = flawOfPattern(text);
    if (flaw !== undefined) throw new InvalidArgumentError(`"${text.slice(0, 50)}" ${flaw}.`);
  }
  return texts;
}

function nameOf(value: string): string {
  if (value.length > 100) throw new InvalidArgumentError('It has more than 100 characters.');
  return value;
}

function shownPatterns(texts: readonly string[]): string {
  return texts.map((text) => (text === '' ? '""' : text)).join(',');
}
