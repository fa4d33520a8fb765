import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { openStore, type StoreConfig } from '../store/open.ts';
import type { Store } from '../store/store.ts';
import { note, UsageError } from './output/print.ts';
import type { QdrantPlace } from '../store/maintenance/qdrant-backup.ts';

/** Kinds of stores. */
export type StoreKind = Store['kind'];

/** Where the embedded store is, as the services have it. */
export function defaultData(): string {
  const share = process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share');
  return process.env['SCALINGNOTE_DATA'] || join(share, 'scalingnote');
}

/** Where Qdrant is, as the services have it. */
export function defaultQdrant(): string {
  return process.env['QDRANT_URL'] || 'http://127.0.0.1:6333';
}

/** Which store a backup is of. */
export interface BackupFlags {
  store: StoreKind;
  data?: string;
  qdrantUrl?: string;
}

/** Adds `--store`, `--data` and `--qdrant-url`. */
export function withBackedUp(command: Command): Command {
  return command
    .addOption(
      new Option('--store <store>', 'kind of store')
        .choices(['embedded', 'qdrant'])
        .env('SCALINGNOTE_STORE')
        .default('embedded'),
    )
    .option('--data <dir>', 'folder of the embedded store (default: that of the services)')
    .option('--qdrant-url <url>', 'REST address of Qdrant (default: QDRANT_URL)');
}

/** @throws {UsageError} for the flag of the other kind of store */
export function checkBackupFlags({ store, data, qdrantUrl }: BackupFlags): void {
  if (store === 'embedded' && qdrantUrl !== undefined) {
    throw new UsageError('--qdrant-url does not fit --store embedded');
  }
  if (store === 'qdrant' && data !== undefined) throw new UsageError('--data does not fit --store qdrant');
}

/** Where Qdrant is. The rest comes from the environment: other processes can read flags, and it is the services' own. */
export function qdrantPlace({ qdrantUrl }: { qdrantUrl?: string | undefined }): QdrantPlace {
  const { env } = process;
  const of = (variable: string): string | undefined => env[variable] || undefined;
  return {
    url: qdrantUrl ?? defaultQdrant(),
    apiKey: of('QDRANT_API_KEY'),
    apiKeyFile: of('SCALINGNOTE_QDRANT_API_KEY_FILE'),
    ca: of('SCALINGNOTE_QDRANT_CA'),
    clientCert: of('SCALINGNOTE_QDRANT_CLIENT_CERT'),
    clientKey: of('SCALINGNOTE_QDRANT_CLIENT_KEY'),
  };
}

/** A store that a command works on by itself, without a service. */
export interface StoreFlags {
  kind: StoreKind;
  data?: string | undefined;
  qdrant?: string | undefined;
}

/**
 * Where a store is. The flag of the other kind is refused.
 *
 * @param flag the words of the flags: `from` for `--from-data` and `--from-qdrant`
 */
export function storeConfig(flag: string, { kind, data, qdrant }: StoreFlags): StoreConfig {
  if (kind === 'embedded') {
    if (qdrant !== undefined) throw new UsageError(`--${flag}-qdrant does not fit --${flag} embedded`);
    return { kind, directory: data ?? defaultData() };
  }
  if (data !== undefined) throw new UsageError(`--${flag}-data does not fit --${flag} qdrant`);
  return { kind, ...qdrantPlace({ qdrantUrl: qdrant }) };
}

/**
 * Opens a store, and makes none where there has to be one.
 *
 * @throws {UsageError} where there is no embedded store in the folder
 */
export async function openExisting(config: StoreConfig): Promise<Store> {
  if (config.kind === 'embedded' && !existsSync(join(config.directory, 'store.db'))) {
    throw new UsageError(`there is no embedded store in ${config.directory}`);
  }
  return await open(config);
}

/** Opens a store, and makes an embedded one where there is none. */
export async function open(config: StoreConfig): Promise<Store> {
  return await openStore(config, { log: { warn: note } });
}
