import { open, rename, rm } from 'node:fs/promises';
import { CliError } from './print.ts';

/** Where an export goes. */
export interface Sink {
  /** Resolves when the bytes have been taken. */
  write(bytes: Uint8Array | string): Promise<void>;
  /** Everything is there: gives a file its name. */
  finish(): Promise<void>;
  /** Something went wrong: leaves no file behind. */
  discard(): Promise<void>;
}

/** Nobody reads standard output any more: `head` has enough lines. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone';
}

/**
 * A file, or standard output where no file is named. The file has its name when it is whole, and replaces what had it.
 *
 * @throws {CliError} where the file can't be made
 */
export async function openSink(file: string | undefined): Promise<Sink> {
  if (file === undefined) return standardOutput;
  const draft = `${file}.${process.pid}.part`;
  const problem = (error: unknown) =>
    new CliError(`can't write ${file}: ${(error as Error).message}`, { cause: error });
  const attempt = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw problem(error);
    }
  };
  const handle = await attempt(() => open(draft, 'wx'));
  return {
    write: (bytes) => attempt(() => handle.writeFile(bytes)),
    finish: () =>
      attempt(async () => {
        await handle.sync();
        await handle.close();
        await rename(draft, file);
      }),
    discard: async () => {
      await handle.close().catch(() => {});
      await rm(draft, { force: true });
    },
  };
}

const standardOutput: Sink = {
  write: (bytes) =>
    new Promise((resolve, reject) => {
      process.stdout.write(bytes, (error) => {
        if (!error) resolve();
        else if ((error as NodeJS.ErrnoException).code === 'EPIPE') reject(new ReaderGone());
        else reject(error);
      });
    }),
  finish: () => Promise.resolve(),
  discard: () => Promise.resolve(),
};
