import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { KEY_ID } from './key.ts';
import { flawOfPattern, MAX_PATTERNS } from './patterns.ts';
import { SCOPES } from './scopes.ts';

/** Most keys of a file: each call finds its key by id, but the whole file is read at each change. */
export const MAX_KEYS = 10_000;
/** Longest that a change waits for another one, in milliseconds: a change takes a few. */
const LOCK_WAIT_MS = 5_000;
/** Pause between two looks at the lock, in milliseconds. */
const LOCK_POLL_MS = 50;
/** How long a key that is dead stays in the file, so that people see what became of it, in milliseconds. */
const DEAD_KEPT_MS = 90 * 24 * 3600 * 1000;

const pattern = z.string().superRefine((text, { addIssue }) => {
  const flaw = flawOfPattern(text);
  if (flaw !== undefined) addIssue(flaw);
});
const patterns = z.array(pattern).min(1).max(MAX_PATTERNS);
const time = z.iso.datetime();

const Stored = z
  .strictObject({
    id: z.string().regex(KEY_ID),
    name: z.string().max(100),
    /** SHA-256 of the key's text, in hexadecimal digits. The key itself is nowhere. */
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    /** Common name of a client certificate that has these rights, instead of a key. */
    certificate: z.string().min(1).max(256).optional(),
    scopes: z.array(z.enum(SCOPES)).min(1),
    tenants: patterns,
    collections: patterns,
    createdAt: time,
    /** From then on it is refused; absent for a key that does not expire. */
    expiresAt: time.optional(),
    revokedAt: time.optional(),
    /** Id of the key that it was made to replace. */
    replaces: z.string().regex(KEY_ID).optional(),
  })
  .refine(
    ({ sha256, certificate }) => (sha256 === undefined) !== (certificate === undefined),
    'has to have one of sha256 and certificate',
  );
const KeyFile = z.strictObject({ version: z.literal(1), keys: z.array(Stored).max(MAX_KEYS) });

/** What is stored of a key. */
export type StoredKey = z.infer<typeof Stored>;

/** What may be shown of a key. */
export function shownKey(key: StoredKey): Omit<StoredKey, 'sha256'> {
  const shown = { ...key };
  delete shown.sha256;
  return shown;
}

/** A file of keys can't be used; the message names the file and the fix. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';
}

/** Where keys are where nobody says otherwise: in the data folder. */
export function defaultKeyFile(env: NodeJS.ProcessEnv = process.env): string {
  const data = env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share');
  return join(env['SCALINGNOTE_DATA'] || join(data, 'scalingnote'), 'keys.json');
}

/** @throws {KeyFileError} where the file can't be read, or others than its owner may write it */
export function readKeyFile(path: string): StoredKey[] {
  let text: string;
  try {
    const { mode } = statSync(path);
    if ((mode & 0o022) !== 0) {
      throw new KeyFileError(`${path}: others may write it, and so make keys; chmod 600 ${path}`);
    }
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof KeyFileError) throw error;
    const fix = (error as NodeJS.ErrnoException).code === 'ENOENT' ? '; make a key with: keys create' : '';
    throw new KeyFileError(`keys can't be read: ${(error as Error).message}${fix}`, { cause: error });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new KeyFileError(`${path} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const parsed = KeyFile.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new KeyFileError(`${path}: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const ids = new Set(parsed.data.keys.map(({ id }) => id));
  if (ids.size < parsed.data.keys.length) throw new KeyFileError(`${path}: two keys have the same id`);
  return parsed.data.keys;
}

/**
 * Changes the keys of a file, in one step: whoever reads sees the old ones or the new ones. Two changes at a time wait
 * for each other. Keys that are long dead go.
 *
 * @param change - returns the keys as they shall be
 * @throws {KeyFileError}
 */
export async function changeKeyFile(
  path: string,
  change: (keys: readonly StoredKey[]) => readonly StoredKey[],
): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const unlock = await lock(`${path}.lock`);
  try {
    const exists = statSync(path, { throwIfNoEntry: false }) !== undefined;
    const kept = change(exists ? readKeyFile(path) : []).filter((key) => !isLongDead(key));
    if (kept.length > MAX_KEYS) {
      throw new KeyFileError(`${path} has ${MAX_KEYS} keys, which is the most; use another file`);
    }
    write(exists ? realpathSync(path) : path, JSON.stringify({ version: 1, keys: kept }, undefined, 2));
  } finally {
    unlock();
  }
}

/** Why a key does not work at a moment; `undefined` where it does. */
export function deathOf(key: StoredKey, now: number): 'revoked' | 'expired' | undefined {
  if (key.revokedAt !== undefined) return 'revoked';
  return key.expiresAt !== undefined && Date.parse(key.expiresAt) <= now ? 'expired' : undefined;
}

function isLongDead({ revokedAt, expiresAt }: StoredKey): boolean {
  const died = Date.parse(revokedAt ?? expiresAt ?? '');
  return died < Date.now() - DEAD_KEPT_MS;
}

function write(path: string, text: string): void {
  const draft = `${path}.${randomUUID()}`;
  try {
    const file = openSync(draft, 'wx', 0o600);
    try {
      writeSync(file, `${text}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw new KeyFileError(`keys can't be written: ${(error as Error).message}`, { cause: error });
  }
}

async function lock(path: string): Promise<() => void> {
  const end = Date.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      closeSync(openSync(path, 'wx', 0o600));
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw new KeyFileError(`keys can't be changed: ${(error as Error).message}`, { cause: error });
      }
      if (Date.now() > end) {
        throw new KeyFileError(`${path} is there: another change is under way, or died; remove it if so`, {
          cause: error,
        });
      }
      await sleep(LOCK_POLL_MS);
    }
  }
}
