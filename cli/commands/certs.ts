import { mkdirSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { Authority } from '../../keys/certificates.ts';
import { within } from '../input/flags.ts';
import { CliError, note, printResult } from '../output/print.ts';

interface Flags {
  out: string;
  hosts: string[];
  clients: string[];
  days: number;
  json?: boolean;
}

/** Longest that browsers take a certificate of a server for good. */
const MAX_DAYS = 397;

/** `scalingnote certs` */
export const certs = new Command('certs')
  .description('make a development CA, a certificate of it for services, and some for clients')
  .option('--out <folder>', 'new folder for the files', 'certs')
  .option('--hosts <list>', 'names and addresses of the services, separated by commas', hosts, [
    'localhost',
    '127.0.0.1',
    '::1',
  ])
  .option('--clients <list>', 'names of clients, separated by commas: a certificate each', names, ['client'])
  .option('--days <n>', 'how long all of them are good', within(1, MAX_DAYS), 90)
  .action(async (flags: Flags) => {
    const { out, days } = flags;
    const authority = await Authority.make(days);
    const files: Record<string, string> = {
      'ca.pem': authority.identity.certificate,
      'ca-key.pem': authority.identity.key,
    };
    const add = async (name: string, purpose: Parameters<Authority['issue']>[0]): Promise<void> => {
      const { certificate, key } = await authority.issue(purpose);
      files[`${name}.pem`] = certificate;
      files[`${name}-key.pem`] = key;
    };
    await add('server', { server: flags.hosts });
    for (const client of flags.clients) await add(`client-${client}`, { client });
    try {
      mkdirSync(out, { recursive: true, mode: 0o700 });
      // Keys are their owner's alone, and no file that is there is replaced.
      for (const [name, text] of Object.entries(files)) {
        writeFileSync(join(out, name), text, { flag: 'wx', mode: name.endsWith('-key.pem') ? 0o600 : 0o644 });
      }
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const fix = code === 'EEXIST' ? '; name another folder with --out' : '';
      throw new CliError(`certificates can't be written: ${message}${fix}`, { cause: error });
    }
    const paths = Object.keys(files).map((name) => join(out, name));
    printResult(flags, { out, hosts: flags.hosts, clients: flags.clients, days, files: paths }, () =>
      paths.join('\n'),
    );
    note(`services: --tls-cert ${join(out, 'server.pem')} --tls-key ${join(out, 'server-key.pem')}`);
    note(`clients: SCALINGNOTE_CA=${join(out, 'ca.pem')}`);
    note('for development: whoever has ca-key.pem can be any service to these clients');
  });

function hosts(value: string): string[] {
  return listOf(
    value,
    (host) => isIP(host) !== 0 || /^(?:\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9-]+)*$/i.test(host),
  );
}

function names(value: string): string[] {
  return listOf(value, (name) => /^[\w.-]{1,64}$/.test(name));
}

function listOf(value: string, fits: (item: string) => boolean): string[] {
  const items = value.split(',').map((item) => item.trim());
  const wrong = items.find((item) => !fits(item));
  if (wrong !== undefined) throw new InvalidArgumentError(`${JSON.stringify(wrong)} is no name.`);
  if (new Set(items).size < items.length) throw new InvalidArgumentError('It names one twice.');
  return items;
}
