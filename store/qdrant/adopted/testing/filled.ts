import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';

/** The script is not compiled, so this path leads from the compiled file to the source. */
const SCRIPT = fileURLToPath(new URL('../../../../../store/qdrant/adopted/testing/fill.py', import.meta.url));

/** How a program writes its points. */
export type Shape = 'langchain' | 'llamaindex' | 'haystack' | 'script';

/** A part of a document, as the program has it. */
export interface Row {
  /** Id of the document. */
  document: string;
  title: string;
  text: string;
  /** Where the part begins in its document. */
  start?: number;
  vector: readonly number[];
  metadata: Readonly<Record<string, unknown>>;
}

/** Where a program writes to, and how. */
export interface Filling {
  shape: Shape;
  distance?: 'Cosine' | 'Dot' | 'Euclid' | 'Manhattan';
  /** Name of the vectors. */
  vector?: string;
  /** Other kinds of vectors. */
  more?: object;
}

/** Has a script that knows nothing of us fill a collection. @param python an interpreter */
export async function fill(
  python: string,
  url: string,
  collection: string,
  rows: readonly Row[],
  { shape, distance = 'Cosine', vector = '', more = {} }: Filling,
): Promise<void> {
  const options = [
    '--shape',
    shape,
    '--distance',
    distance,
    '--vector',
    vector,
    '--more',
    JSON.stringify(more),
  ];
  const child = spawn(python, ['-B', SCRIPT, url, collection, ...options]);
  child.stdin.end(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit'), text(child.stdout)]);
  assert.equal(code, 0, errors);
}

/** Sends a request to a server directly. */
export async function ask<Result>(url: string, method: string, path: string, body?: object): Promise<Result> {
  const answer = await request(url + path, {
    method: method as 'POST',
    body: body ? JSON.stringify(body) : null,
  });
  const parsed = (await answer.body.json()) as { result: Result };
  assert.equal(answer.statusCode, 200, JSON.stringify(parsed));
  return parsed.result;
}

/** Everything that a collection holds, and how it is described, without what we write about it. */
export async function everythingIn(
  url: string,
  collection: string,
): Promise<{ points: unknown; config: unknown }> {
  const path = `/collections/${encodeURIComponent(collection)}`;
  const { config, payload_schema: indexes } = await ask<{
    config: { metadata?: Record<string, unknown> };
    payload_schema: unknown;
  }>(url, 'GET', path);
  const { metadata = {}, ...settings } = config;
  const body = { limit: 100_000, with_payload: true, with_vector: true };
  const { points } = await ask<{ points: unknown }>(url, 'POST', `${path}/points/scroll`, body);
  const others = Object.fromEntries(Object.entries(metadata).filter(([key]) => key !== 'scalingnote'));
  return { points, config: { settings, indexes, metadata: others } };
}
