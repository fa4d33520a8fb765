import { signal } from '@preact/signals';
import { chunksOf, MAX_CHUNK_BYTES } from '../../shared/chunks-of.ts';
import type { IngestBody, IngestsAnswer, IngestState } from '../../shared/wire.ts';
import { ApiError, get, post, postBytes, remove } from '../api.ts';

/** The ingests of the console, the newest first; undefined before the first answer. */
export const ingests = signal<readonly IngestState[] | undefined>(undefined);
/** Why the page could not send the last file, or read the numbers. */
export const ingestProblem = signal<string | undefined>(undefined);

/** Reads the state of all ingests. */
export async function lookAtIngests(): Promise<void> {
  try {
    ingests.value = (await get<IngestsAnswer>('/api/ingests')).ingests;
  } catch (error) {
    ingestProblem.value = (error as ApiError).message;
  }
}

/**
 * Sends a file, gzipped or not, a chunk at a time. It reads the next chunk from the disk once the server has the last, so that a
 * file of any size passes through little memory.
 */
export async function upload(file: File, into: Omit<IngestBody, 'name' | 'bytes'>): Promise<void> {
  ingestProblem.value = undefined;
  try {
    const gzip = await isGzip(file);
    const body: IngestBody = { ...into, name: file.name, bytes: gzip ? 0 : file.size };
    const begun = await post<IngestState>('/api/ingests', body);
    put(begun);
    await send(
      gzip ? file.stream().pipeThrough(new DecompressionStream('gzip')) : file.stream(),
      begun.ingestId,
    );
  } catch (error) {
    // A person who cancelled an ingest needs no error.
    if (error instanceof ApiError && error.reason === 'INGEST_ENDED') await lookAtIngests();
    else ingestProblem.value = `${file.name}: ${(error as Error).message}`;
  }
}

/** Cancels an ingest. */
export async function cancel(ingestId: string): Promise<void> {
  try {
    put(await remove<IngestState>(`/api/ingests/${ingestId}`));
  } catch (error) {
    ingestProblem.value = (error as ApiError).message;
  }
}

async function send(plain: ReadableStream<Uint8Array>, ingestId: string): Promise<void> {
  const path = `/api/ingests/${ingestId}`;
  let offset = 0;
  try {
    for await (const chunk of chunksOf(plain, MAX_CHUNK_BYTES)) {
      put(await postBytes<IngestState>(`${path}/chunks?offset=${offset}`, chunk));
      offset += chunk.length;
    }
    put(await post<IngestState>(`${path}/end`, {}));
  } catch (error) {
    if (!(error instanceof ApiError)) await cancel(ingestId);
    throw error;
  }
}

/** By its first bytes (RFC 1952). */
async function isGzip(file: File): Promise<boolean> {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  return first === 0x1f && second === 0x8b;
}

function put(state: IngestState): void {
  const others = (ingests.value ?? []).filter(({ ingestId }) => ingestId !== state.ingestId);
  ingests.value = [state, ...others].sort((a, b) => b.startedAt.localeCompare(a.startedAt));
}
